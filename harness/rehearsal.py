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
from accounting.words.json_values import ChangedKey, Json
from accounting.words.names import SCRATCH
from accounting.words.quantities import percent_of
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
from harness.models.classifier import is_for_others
from harness.models.parent_check import built_parent
from harness.routes.scratch import family_within, siblings
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
    resources = _resources(given.resources) if is_here else given.resources
    caps = replace(caps, batch_size=max(caps.batch_size, 4 * _most_workers(resources, is_here=is_here)))
    whole, info = _whole(given.dataset)
    parent, stand_ins = _parent(given.parent, info)
    caps = replace(caps, image_size=_image_size(parent, info, caps))
    dataset = _dataset(given.dataset, whole, info, caps)
    parent = _sized(parent, caps)
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
            "resources": resources,
        }
    )
    config = _targets(given, config, info)
    StudyConfig.model_validate(as_written(config) | {"targets": _targets_of(config)})
    return Rehearsal(config, tuple(_changes(given, config, stand_ins)))


def _changes(given: StudyConfig, config: StudyConfig, stand_ins: dict[str, str]) -> Iterator[ChangedKey]:
    has_other_shares = given.target_percents != config.target_percents
    for change in changes_between(given, config):
        if change.key != "targets" or not has_other_shares:
            yield {"key": change.key, "old": change.old, "new": stand_ins.get(change.key, change.new)}
    if has_other_shares:
        yield {"key": "targets", "old": _targets_of(given) or None, "new": _targets_of(config)}


def _targets_of(config: StudyConfig) -> list[Json]:
    """The targets as a config has them: MACs, then shares of the parent's."""
    return [*config.targets, *(f"{percent:g}%" for percent in config.target_percents)]


def _whole(given: DatasetConfig) -> tuple[DatasetConfig, DataInfo]:
    """The dataset with all of its images, and its facts."""
    whole = _with(given, {"num_train": None, "num_test": None, "num_classes": None})
    try:
        data = open_dataset(whole)
        data.check()
        return whole, data.info()
    except InputError as error:
        way = "a rehearsal reads real images: give them, as --set dataset.path=FOLDER"
        raise InputError(f"{error}; {way}") from None


def _image_size(parent: ParentConfig, info: DataInfo, caps: Caps) -> int | None:
    """The image size to which a rehearsal is cut; None if images are small, or the parent takes only its own size."""
    most = caps.image_size
    if most is None or info.image_shape[1] <= most:
        return None
    shown = info_at(info, _sized(parent, caps).image_size or most)
    try:
        built_parent(parent, shown)
    except InputError:  # a vision transformer, for instance, whose position embedding has one size
        return None
    return most


def _sized(parent: ParentConfig, caps: Caps) -> ParentConfig:
    """The parent at an image size below the cap, if its own is above it."""
    if caps.image_size is None or parent.image_size is None or parent.image_size <= caps.image_size:
        return parent
    return parent.model_copy(update={"image_size": caps.image_size * 7 // 8})


def _dataset(given: DatasetConfig, whole: DatasetConfig, info: DataInfo, caps: Caps) -> DatasetConfig:
    """The dataset with fewer and smaller images of every class; ``info`` has the facts of the ``whole`` dataset."""
    keys = open_dataset(whole).KEYS
    values: dict[str, object] = {}
    if given.num_classes is not None and given.num_classes != info.num_classes:
        values["num_classes"] = info.num_classes
    if "image_size" in keys and given.image_size is not None and caps.image_size is not None:
        values["image_size"] = min(given.image_size, caps.image_size)
    if "num_workers" in keys and "num_workers" in given.model_fields_set:
        values["num_workers"] = min(given.num_workers, num_cores())
    if "val_fraction" in keys:
        values["val_fraction"] = max(given.val_fraction, caps.val_fraction)
    if "num_test" in keys and (given.num_test is not None or info.num_test > caps.test_images):
        values["num_test"] = _num_test(given.num_test, _with(whole, values), info, caps)
    if "num_train" in keys:
        values["num_train"] = _num_train(_with(given, values), info, caps)
    return _with(given, values)


def _num_test(given: int | None, whole: DatasetConfig, info: DataInfo, caps: Caps) -> int:
    """A small number of test images with which the dataset is valid: some demand an image of every class."""
    most = min(given or info.num_test, info.num_test)
    wanted = min(most, caps.test_images)
    while wanted < most:
        try:
            open_dataset(_with(whole, {"num_test": wanted})).info()
            break
        except InputError:
            wanted = min(most, 2 * wanted)
    return wanted


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
    if not given.pretrained:
        return given, {}
    spec = pretrained_spec(given, parent_spec(given, info))
    problem = _weights_problem(spec)
    if problem is None and is_for_others(spec) and given.pretrain.epochs == 0:
        problem = f"the published ones have other {info.task.words.outputs}"
    if problem is None:
        return given, {}
    return given.model_copy(update={"pretrained": False}), {"parent.pretrained": f"{STAND_IN}: {problem}"}


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


def _most_workers(resources: ResourcesConfig, *, is_here: bool) -> int:
    """How many workers a job may have: those that are given, or one for each of its GPUs."""
    given, devices = resources.workers_per_job or 1, resources.devices_per_job
    named = max(given.values(), default=1) if isinstance(given, dict) else given
    gpus = (
        torch.cuda.device_count() if is_here else int(max(devices.values()) if isinstance(devices, dict) else devices)
    )
    return max(1, named, gpus if resources.device != "cpu" else 1)


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
    """Targets at the same shares of the parent's MACs as before; half of its MACs in place of a latency.

    A target that had a network of the parent's family within it is raised until it has one: the control is rehearsed, too.
    """
    if given.target is not None and not given.targets:
        return config.model_copy(update={"target": None, "target_percents": [50.0]})
    control = given.routes.sections.get(SCRATCH)
    has_siblings = given.parent.family is not None and bool(getattr(control, "family", False))
    if not given.targets and not has_siblings:
        return config
    side = given.dataset.image_size or info.image_shape[1]
    whole = replace(
        info,
        image_shape=(info.image_shape[0], side, side),
        num_classes=given.dataset.num_classes or info.num_classes,
    )
    cut = open_dataset(config.dataset).info()
    before = built_parent(config.parent, info_at(whole, given.parent.image_size))[2]
    now = built_parent(config.parent, info_at(cut, config.parent.image_size))[2]

    def of_sibling(target: int, scaled: int) -> int | None:
        """MACs, in the rehearsal, of the sibling within ``target``; None if there is none, or one is within ``scaled``."""
        was = family_within(given.parent, whole, target) if has_siblings else None
        if was is None or family_within(config.parent, cut, scaled) is not None:
            return None
        raised = next(each.macs for each in siblings(config.parent, cut) if each.variant == was.variant)
        return raised if raised < now else None

    targets: list[int] = []
    for target in given.targets:
        scaled = max(1, round(target * now / before))
        raised = of_sibling(target, scaled)
        targets.append(scaled if raised is None or raised in targets else raised)
    shares: list[float] = []
    for percent in given.target_percents:
        raised = of_sibling(percent_of(percent, before), percent_of(percent, now))
        if raised is None or raised in targets:
            shares.append(percent)
        else:
            targets.append(raised)
    return config.model_copy(update={"targets": sorted(targets, reverse=True), "target_percents": shares})
