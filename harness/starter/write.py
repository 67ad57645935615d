"""The text of a starter study: commented, sized for its images and parent, and checked as ``plan`` checks it."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from pathlib import Path

import timm

from accounting.study.yaml12 import read_one
from accounting.study.yaml_writer import write_yaml
from accounting.words.plain_text import plain
from accounting.words.quantities import macs_text, percent_of
from harness.config.study import DatasetConfig, ParentConfig, parse_config
from harness.data.base import Dataset
from harness.data.registry import open_dataset
from harness.errors import InputError
from harness.models.parent_check import built_parent
from harness.models.target_percents import resolve_percents
from harness.starter.wishes import Wishes
from harness.validation import check_study
from nas_baseline.spaces import list_spaces

log = logging.getLogger(__name__)

SIZE = 224
"""Side of the images in pixels, for parents that do not state their own."""

_TEXT = """\
# A first study: is it cheaper to prune {parent_name}, or to search for a network as small?
# `prune-or-search plan {file}` says what it costs, `prune-or-search run {file}` runs and resumes it.
# Every key: `prune-or-search list config`, or docs/config.md.
name: {name}
dataset:
  name: image_folder
  {path}{options}
  image_size: {size}            # {size_reason}; smaller is faster
parent:                      # {parent_macs} MACs for one image
{parent}
  pretrain: {{epochs: 30}}     # with pretrained: true (timm's) or checkpoint: FILE beside it, fewer are enough
targets: [{targets}]{shares}
replicates: 3                # repetitions, for the interval; 1 is a third of the price and decides nothing
recipe: {{batch_size: 32, lr: 0.05, weight_decay: 1.0e-4, augment: light}}
routes:
  prune:
    criterion: global_magnitude     # more: prune-or-search list criteria
    finetune: {{epochs: 15, lr: 0.01}}
{search}
{scratch}
# budget: {{prune: 2 h, search: 2 h}}   # device-hours at which a route stops
# export: {{onnx: true, latency: true}} # further files and measurements of the delivered networks
"""
_OPTIONS = """
  options: {val: val, test: test}   # val/ selects, test/ is read once per delivered network"""
_SEARCH = """\
  search:                    # the challenger: train some candidates for a while, then the best of them for long
    space: {space}
    strategy: {{name: predictor_evolution, num_trials: 24}}
    candidate: {{epochs: 5}}
    retrain: {{epochs: 30}}"""
_SCRATCH = """\
  scratch:                   # the control: a network of that size, trained directly
    train: {epochs: 30}"""
_SCRATCH_OF_TIMM = """\
  scratch: {}                # the control: the pruned structure trained directly, from fresh weights"""
_NO_SEARCH = """\
  # search: {}               # no shipped search space has networks for these targets and images; see docs for your own"""


def starter_text(wishes: Wishes, file: Path) -> str:
    """The study as YAML; ``InputError`` if a study cannot use the images, the parent or the targets."""
    size, size_reason = _image_size(wishes.parent)
    dataset = DatasetConfig(name="image_folder", path=str(wishes.images), image_size=size)
    images, has_own = _opened(dataset, wishes.images)
    for note in images.info().notes:
        log.warning("data: %s", plain(note))
    parent_macs = built_parent(wishes.parent, images.info())[2]
    targets = {_macs(target, parent_macs): target for target in wishes.targets}
    if len(targets) < len(wishes.targets):
        raise InputError(f"--macs: two of the targets come to the same MACs ({', '.join(map(macs_text, targets))})")
    falling = sorted(targets.items(), reverse=True)
    others = ", ".join(_other_form(macs, given, parent_macs) for macs, given in falling)
    given = wishes.parent.model_dump(include={"timm", "family", "variant"}, exclude_none=True)
    values = {
        "file": file.name,
        "name": _name(file),
        "path": write_yaml({"path": str(wishes.images)}, folded=False).strip(),
        "options": _OPTIONS if has_own else "",
        "size": size,
        "size_reason": size_reason,
        "parent_name": " ".join(given.values()),
        "parent_macs": macs_text(parent_macs, 3),
        "parent": "\n".join(f"  {line}" for line in write_yaml(given, folded=False).strip().splitlines()),
        "targets": ", ".join(_as_given(target) for _, target in falling),
        "scratch": _SCRATCH if wishes.parent.timm is None else _SCRATCH_OF_TIMM,
        "shares": f"   # MACs of the delivered networks, at this image size {others}",
    }
    problems: list[InputError] = []
    for search in [*(_SEARCH.format(space=space) for space in list_spaces()), _NO_SEARCH]:
        text = _TEXT.format(**values, search=search)
        try:
            check_study(resolve_percents(parse_config(read_one(text), str(file))), need_data=True)
        except InputError as error:
            problems.append(error)
            continue
        return text
    raise problems[-1]


def _opened(dataset: DatasetConfig, images: Path) -> tuple[Dataset, bool]:
    """The images, checked, and whether ``val`` and ``test`` are each the split of its name; they are if both can be used."""
    if _has_both(images):
        opened = open_dataset(dataset.model_copy(update={"options": {"val": "val", "test": "test"}}))
        with suppress(InputError):
            opened.check()
            return opened, True
    opened = open_dataset(dataset)
    opened.check()
    return opened, False


def _has_both(images: Path) -> bool:
    """Whether there are validation and test images beside those for training, in folders of the same classes."""
    parts = [images / part for part in ("train", "val", "test")]
    if not all(part.is_dir() for part in parts):
        return False
    try:
        train, val, test = (_filled(part) for part in parts)
    except OSError:  # what cannot be listed is named when the images are checked
        return False
    return bool(train) and train == val == test


def _filled(part: Path) -> set[str]:
    """The names of its folders that are not empty."""
    return {place.name for place in part.iterdir() if place.is_dir() and any(place.iterdir())}


def _macs(target: int | float, parent_macs: int) -> int:
    """A target in MACs, from MACs (an integer) or percent of the parent's (a float)."""
    return target if isinstance(target, int) else percent_of(target, parent_macs)


def _as_given(target: int | float) -> str:
    return macs_text(target) if isinstance(target, int) else f"{repr(target).removesuffix('.0')}%"


def _other_form(macs: int, given: int | float, parent_macs: int) -> str:
    """The share of the parent's MACs that a number is, or the other way round."""
    return f"{100 * macs / parent_macs:.3g}% of the parent's" if isinstance(given, int) else macs_text(macs, 3)


def _image_size(parent: ParentConfig) -> tuple[int, str]:
    known = timm.get_pretrained_cfg(parent.timm, allow_unregistered=True) if parent.timm is not None else None
    if known is None or len(known.input_size) != 3:
        return SIZE, "a usual size"
    return int(known.input_size[-1]), "the size that the network was made for"


def _name(file: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem).strip("._-") or "study"
