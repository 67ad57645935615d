"""A study cut down to minutes: the same code paths on the same data, to find failures before they are paid for.

Whatever takes time is capped (:mod:`harness.config.caps`). Classes and image counts are those of the real data, targets keep
their share of the parent's MACs, and weights that are not available are replaced by random ones. Every change is listed and
recorded. A rehearsal measures nothing: see :data:`accounting.study.facts.REHEARSAL`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from accounting.ledger.specs import NetworkSpec
from accounting.words.json_values import ChangedKey
from harness.config.caps import CAPS, SUFFIX, Caps
from harness.config.distill import PARENT, TIMM
from harness.config.resources import ResourcesConfig
from harness.config.study import DatasetConfig, ParentConfig, StudyConfig
from harness.cores import num_cores
from harness.data.base import DataInfo
from harness.data.registry import open_dataset
from harness.data.sized import info_at
from harness.errors import InputError
from harness.jobs.teachers import given_teachers
from harness.models.build import build_network, checkpoint_path, parent_spec, pretrained_spec
from harness.models.parent_check import built_parent
from harness.stored.extension import changes_between
from harness.stored.written import as_written

MOST_NAME = 100
"""Most characters in a study's name."""
STAND_IN = "stand-in weights, random"


@dataclass(frozen=True)
class Rehearsal:
    """The config to run, and every key of the given config that it changes, with old and new values."""

    config: StudyConfig
    changes: tuple[ChangedKey, ...]


def rehearsed(given: StudyConfig, *, is_here: bool = True, caps: Caps = CAPS) -> Rehearsal:
    """The rehearsal of a study. With ``is_here``, jobs are cut down to the devices of this machine.

    Raises:
        InputError: the data, which a rehearsal reads, or a teacher's weights are not available.

    """
    if is_here:  # a batch of every worker that a job may have here
        caps = replace(caps, batch_size=max(caps.batch_size, 4 * max(1, torch.cuda.device_count())))
    dataset, info = _dataset(given.dataset, caps)
    parent, stand_ins = _parent(given.parent, info)
    if parent.image_size is not None and parent.image_size > caps.image_size:
        parent = parent.model_copy(update={"image_size": caps.image_size * 7 // 8})
    _check_teachers(given)
    config = given.model_copy(
        update={
            "name": given.name[: MOST_NAME - len(SUFFIX)] + SUFFIX,
            "dataset": dataset,
            "parent": parent.model_copy(update={"pretrain": caps.override(parent.pretrain, given.recipe)}),
            "replicates": min(given.replicates, caps.replicates),
            "recipe": caps.recipe(given.recipe),
            "routes": given.routes.rehearsed(caps, given.recipe),
            "store": None,
            "resources": _resources(given.resources) if is_here else given.resources,
        }
    )
    config = _targets(given, config, info)
    StudyConfig.model_validate(
        as_written(config) | {"targets": [*config.targets, *(f"{p:g}%" for p in config.target_percents)]}
    )
    return Rehearsal(config, tuple(_changes(given, config, stand_ins)))


def _changes(given: StudyConfig, config: StudyConfig, stand_ins: dict[str, str]) -> Iterator[ChangedKey]:
    for change in changes_between(given, config):
        yield {"key": change.key, "old": change.old, "new": stand_ins.get(change.key, change.new)}
    if given.target_percents != config.target_percents:
        yield {"key": "targets", "old": None, "new": [f"{percent:g}%" for percent in config.target_percents]}


def _dataset(given: DatasetConfig, caps: Caps) -> tuple[DatasetConfig, DataInfo]:
    """The dataset with fewer and smaller images of every class, and the facts of the full dataset."""
    whole = _with(given, {"num_train": None, "num_test": None, "num_classes": None})
    try:
        data = open_dataset(whole)
        data.check()
        info = data.info()
    except InputError as error:
        way = "a rehearsal reads real images: give them, as --set dataset.path=FOLDER"
        raise InputError(f"{error}; {way}") from None
    values: dict[str, object] = {}
    if given.num_classes is not None and given.num_classes != info.num_classes:
        values["num_classes"] = info.num_classes
    if "image_size" in data.KEYS and given.image_size is not None:
        values["image_size"] = min(given.image_size, caps.image_size)
    if "num_workers" in data.KEYS and "num_workers" in given.model_fields_set:
        values["num_workers"] = min(given.num_workers, num_cores())
    if "num_test" in data.KEYS and (given.num_test is not None or info.num_test > caps.test_images):
        values["num_test"] = min(given.num_test or info.num_test, caps.test_images, info.num_test)
    if "val_fraction" in data.KEYS:
        values["val_fraction"] = max(given.val_fraction, caps.val_fraction)
    if "num_train" in data.KEYS:
        values["num_train"] = _num_train(_with(given, values), info, caps)
    return _with(given, values), info


def _num_train(given: DatasetConfig, info: DataInfo, caps: Caps) -> int | None:
    """A small number of training images in which every class occurs; None: all images."""
    there = info.num_train + info.num_val
    wanted = max(caps.images, caps.images_per_class * info.num_classes)
    while wanted < min(there, given.num_train or there):
        try:
            open_dataset(_with(given, {"num_train": wanted})).info()
            return wanted
        except InputError:  # some class would have no training image
            wanted *= 2
    return None if given.num_train is None or given.num_train >= there else given.num_train


def _with(given: DatasetConfig, values: dict[str, object]) -> DatasetConfig:
    """The config with values changed; None leaves a key out, since a dataset refuses keys that it does not use."""
    said = given.model_dump(exclude_unset=True) | {k: v for k, v in values.items() if v != getattr(given, k)}
    return DatasetConfig.model_validate({key: value for key, value in said.items() if value is not None})


def _parent(given: ParentConfig, info: DataInfo) -> tuple[ParentConfig, dict[str, str]]:
    """The parent, with random weights if its own are not available; and what to say about that, by key."""
    if given.checkpoint is not None and not checkpoint_path(given.checkpoint).exists():
        return given.model_copy(update={"checkpoint": None}), {
            "parent.checkpoint": f"{STAND_IN}: there is no such file"
        }
    if given.pretrained and (problem := _weights_problem(pretrained_spec(given, parent_spec(given, info)))) is not None:
        return given.model_copy(update={"pretrained": False}), {"parent.pretrained": f"{STAND_IN}: {problem}"}
    return given, {}


def _weights_problem(spec: NetworkSpec) -> str | None:
    """Why a network's published weights are not available; None if they are, in which case they are now in the cache."""
    try:
        with _unheard("huggingface_hub"):
            build_network(spec)
    except Exception as error:  # a download may fail in any way
        return f"the published ones are not available ({type(error).__name__})"
    return None


@contextmanager
def _unheard(name: str) -> Iterator[None]:
    """Silence what a library logs about each retry, which is of no use to the user."""
    found = [logging.getLogger(key) for key in logging.root.manager.loggerDict if key.partition(".")[0] == name]
    levels = [logger.level for logger in found]
    for logger in found:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(found, levels, strict=True):
            logger.setLevel(level)


def _check_teachers(config: StudyConfig) -> None:
    """``InputError`` for a published teacher that is not available; teachers from files are checked as in a run."""
    for place, distill in given_teachers(config):
        if not distill.teacher.startswith(TIMM):
            continue
        problem = _weights_problem(
            {"builder": "timm", "name": distill.teacher.removeprefix(TIMM), "kwargs": {"pretrained": True}}
        )
        if problem is not None:
            key = ".".join((*map(str, place), "teacher"))
            raise InputError(
                f"{key}: {distill.teacher}: {problem}; rehearse with another, as --set {key}={PARENT}, or a file"
            )


def _resources(given: ResourcesConfig) -> ResourcesConfig:
    """The resources, limited to what this machine has."""
    gpus, cores = torch.cuda.device_count(), num_cores()
    has_gpu = given.device != "cpu" and gpus > 0
    most = float(gpus if has_gpu else cores)
    devices = given.devices_per_job
    values: dict[str, object] = {}
    fewer = {phase: min(n, most) for phase, n in devices.items()} if isinstance(devices, dict) else min(devices, most)
    if fewer != devices:
        values |= {"devices_per_job": fewer, "workers_per_job": None}
    if given.device == "cuda" and not has_gpu:
        values["device"] = "auto"
    if not has_gpu:
        values |= {"device_kind": None, "equivalent": {}}
    if has_gpu:
        largest = max(fewer.values()) if isinstance(fewer, dict) else fewer
        values["cpus_per_job"] = min(given.cpus_per_job, cores / max(1, int(largest)))
    return given.model_copy(update={key: value for key, value in values.items() if getattr(given, key) != value})


def _targets(given: StudyConfig, config: StudyConfig, info: DataInfo) -> StudyConfig:
    """Targets at the same shares of the parent's MACs as before; half of its MACs in place of a latency."""
    if given.target is not None and not given.targets:
        return config.model_copy(update={"target": None, "target_percents": [50.0]})
    if not given.targets:
        return config
    side = given.parent.image_size or given.dataset.image_size or info.image_shape[1]
    as_given = replace(
        info,
        image_shape=(info.image_shape[0], side, side),
        num_classes=given.dataset.num_classes or info.num_classes,
    )
    before = built_parent(config.parent, as_given)[2]
    now = built_parent(config.parent, info_at(open_dataset(config.dataset).info(), config.parent.image_size))[2]
    targets = [max(1, round(target * now / before)) for target in given.targets]
    return config.model_copy(update={"targets": targets})
