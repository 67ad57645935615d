"""A study's teachers: from their names in the config to networks, checked before any device time is spent."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from timm.data import resolve_data_config
from torch import nn

from accounting.ledger.specs import NetworkSpec
from accounting.macs.count import count_macs
from accounting.study.yaml12 import Place
from accounting.words.names import PRUNE
from harness.config.distill import PARENT, TIMM, Distill, distillations
from harness.config.study import StudyConfig
from harness.data.base import DataInfo
from harness.errors import InputError, one_line, typed_line
from harness.jobs.start import FRESH, Checkpoint
from harness.jobs.teacher import Teacher
from harness.models.build import build_network, checkpoint_path, fit_checkpoint, load_checkpoint, load_tensors
from pruning.resize import fit_to_state

WEIGHTS, ARCHITECTURE = "model.safetensors", "architecture.json"
"""Files in a delivered network's folder (docs/delivered_networks.md)."""


def named_teachers(config: StudyConfig, info: DataInfo, parent: NetworkSpec, parent_macs: int) -> dict[str, Teacher]:
    """Every teacher of a study except the parent, by its name in the config; ``InputError`` for an unsuitable one."""
    found: dict[str, Teacher] = {}
    for place, distill in given_teachers(config):
        name, key = distill.teacher, ".".join((*map(str, place), "teacher"))
        if name == PARENT:
            if place[:2] == ("parent", "pretrain"):
                raise InputError(f"{key}: the parent cannot teach itself; name timm:NAME or a file, or remove it")
            if PRUNE not in config.routes.names:
                raise InputError(
                    f"{key}: parent given, and the study trains none: routes.prune is missing; add it, or name timm:NAME "
                    "or a file"
                )
        elif name not in found:
            try:
                if name.startswith(TIMM):
                    found[name] = _of_timm(name, info)
                else:
                    found[name] = _of_file(name, info, parent, parent_macs)
            except InputError as error:
                raise InputError(*(_at(key, line) for line in str(error).splitlines())) from None
    return found


def given_teachers(config: StudyConfig) -> list[tuple[Place, Distill]]:
    """(place, ``Distill``) of every teacher that the study uses, in the order of the config."""
    used = {route for route, prune in config.routes.prunings.items() if any(m.is_distilled for m in prune.methods)}
    return [
        (place, distill)
        for place, distill in distillations(config)
        if place[-1] != "distilled" or str(place[1]) in used
    ]


def check_published(config: StudyConfig, teachers: Mapping[str, Teacher]) -> None:
    """``InputError`` for a teacher whose published weights cannot be loaded here; they are then in the cache."""
    for place, distill in given_teachers(config):
        name = distill.teacher
        if not name.startswith(TIMM):
            continue
        try:
            build_network(teachers[name].network)
        except Exception as error:  # a download may fail in any way
            key = ".".join((*map(str, place), "teacher"))
            raise InputError(
                f"{key}: {name}: its published weights are not available ({type(error).__name__}); load them once where "
                "the Hugging Face Hub can be reached, or name a file"
            ) from None


def weights_file(name: str) -> Path:
    """The weights file of a teacher that is given as a file or as a delivered network's folder."""
    path = checkpoint_path(name)
    return path / WEIGHTS if path.is_dir() else path


def teacher_network(teacher: Teacher, weights: Path | None) -> nn.Module:
    """The teacher with its weights; if a job trained it, ``weights`` is that job's file.

    Raises:
        InputError: its file is gone, or no longer fits.

    """
    model = build_network(teacher.network)
    if weights is not None:
        return fit_to_state(model, load_tensors(weights))
    if isinstance(teacher.start, Checkpoint):
        path = Path(teacher.start.path)
        if path.is_dir():
            return fit_to_state(model, load_tensors(path / WEIGHTS))
        fit_checkpoint(model, load_checkpoint(path), path)
    return model


def _of_timm(name: str, info: DataInfo) -> Teacher:
    """A network with timm's published weights, trained on the study's classes."""
    given = name.removeprefix(TIMM)
    published = timm.list_models(pretrained=True)
    known = {each.split(".")[0] for each in published}
    if given not in published and given not in known:
        near = difflib.get_close_matches(given, sorted(known), n=3, cutoff=0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise InputError(f"{name}: timm has no published weights of {given!r}{hint}")
    cfg = timm.get_pretrained_cfg(given)
    known_outputs, task = None if cfg is None else cfg.num_classes, info.task
    if cfg is None or known_outputs != task.num_outputs:
        raise InputError(
            f"{name}: its published weights know {known_outputs or 'no'} {task.words.outputs}, the data has "
            f"{task.num_outputs}; name one that was trained on these {task.words.outputs}, such as a delivered "
            "network's folder"
        )
    data = resolve_data_config(pretrained_cfg=cfg.to_dict())
    kwargs = {"in_chans": data["input_size"][0], "num_classes": task.num_outputs}
    spec: NetworkSpec = {"builder": "timm", "name": given, "kwargs": {**kwargs, "pretrained": True}}
    plain: NetworkSpec = {"builder": "timm", "name": given, "kwargs": kwargs}
    return _checked(
        Teacher(
            name,
            spec,
            FRESH,
            0,
            tuple(data["input_size"]),
            tuple(data["mean"]),
            tuple(data["std"]),
            data["interpolation"],
        ),
        build_network(plain),
        info,
    )


def _of_file(name: str, info: DataInfo, parent: NetworkSpec, parent_macs: int) -> Teacher:
    """A delivered network's folder, which describes itself, or a weights file for the parent's architecture and images."""
    path = checkpoint_path(name)
    if path.is_dir() and (path / ARCHITECTURE).is_file():
        return _delivered(name, path, info)
    model = build_network(parent)
    left = fit_checkpoint(model, load_checkpoint(path), path)
    if left:
        raise InputError(
            f"{path} has no {info.task.words.head_layer} for the data's {info.task.num_outputs} "
            f"{info.task.words.outputs}; a teacher needs one"
        )
    start = Checkpoint(str(path))
    return Teacher(name, parent, start, parent_macs, info.image_shape, info.mean, info.std, info.interpolation)


def _delivered(name: str, folder: Path, info: DataInfo) -> Teacher:
    try:
        about: dict[str, Any] = json.loads((folder / ARCHITECTURE).read_text(encoding="utf-8"))
        teacher = Teacher(
            name,
            about["network"],
            Checkpoint(str(folder)),
            0,
            tuple(about["image_shape"]),
            tuple(about["mean"]),
            tuple(about["std"]),
            about["interpolation"],
        )
        model = teacher_network(teacher, None)
        outputs = tuple(about["class_names"])
    except Exception as error:  # a file of another program may hold anything
        raise InputError(f"{folder} is not a delivered network that can be read ({typed_line(error)})") from None
    if outputs and info.task.output_names and outputs != tuple(info.task.output_names):
        words = info.task.words
        raise InputError(
            f"{folder} knows other {words.outputs} than the data's, or in another order: {_first(outputs)}"
        )
    return _checked(teacher, model, info)


def _checked(teacher: Teacher, model: nn.Module, info: DataInfo) -> Teacher:
    """The teacher with its MACs; ``InputError`` if it does not give one score per class of the data for such images."""
    channels = teacher.image_shape[0]
    if channels not in (info.image_shape[0], 3) or (channels == 3 and info.image_shape[0] not in (1, 3)):
        raise InputError(
            f"{teacher.name}: it takes images of {channels} channels, the data's have {info.image_shape[0]}"
        )
    try:
        macs = count_macs(model, teacher.image_shape).macs
        outputs = int(getattr(model, "num_classes", 0)) or teacher.network["num_classes"]
    except Exception as error:  # as in parent_check: a forward pass may fail in any way
        raise InputError(f"{teacher.name} cannot take images of {teacher.image_shape}: {one_line(error)}") from None
    if outputs != info.task.num_outputs:
        named = info.task.words.outputs
        raise InputError(f"{teacher.name}: it knows {outputs} {named}, the data has {info.task.num_outputs}")
    return Teacher(
        teacher.name,
        teacher.network,
        teacher.start,
        macs,
        teacher.image_shape,
        teacher.mean,
        teacher.std,
        teacher.interpolation,
    )


def _first(classes: Sequence[str]) -> str:
    return ", ".join(classes[:3]) + ("…" if len(classes) > 3 else "")


def _at(key: str, line: str) -> str:
    """The line with the teacher's key: files are read by the parent's code, whose errors name the parent's key."""
    return f"{key}: {line.removeprefix('parent.checkpoint: ')}"
