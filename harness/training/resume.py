"""The state from which a training resumes after a kill: written atomically, and trusted only after verification.

A file is one line of JSON (``format``, ``identity``, ``sha256`` of the rest), followed by the bytes of ``torch.save``.
``identity`` is a hash of the job, so the state of another network, recipe or seed is not used. Only tensors and plain
values are unpickled, and only after the hash was checked. A state that is not trusted is dropped, and the training
starts from the beginning.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from harness.jobs.job import Job
from harness.jobs.spec import COST_FIELDS, DEFAULTS, to_json
from harness.paths import replacing

log = logging.getLogger(__name__)

FORMAT = "prune-or-search resume 1"
WITHIN = "prune-or-search resume 2"
"""The format of a state within an epoch: versions that would take it for the end of one drop it."""


class TrainingState(TypedDict, total=False):
    """What a training resumes from: torch's state dicts, and masks that change (null in old states)."""

    epoch: int
    curve: list[float]
    """val_top1 of each epoch so far."""
    model: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    optimizer: dict[str, object]
    scaler: dict[str, object]
    masks: dict[str, Tensor] | None
    part: dict[str, object]
    """How far the next epoch had come (:class:`harness.training.within.Part`); absent at the end of an epoch."""


class StateLost(RuntimeError):
    """The state left by an earlier job of the same training is missing or invalid."""


@dataclass(frozen=True)
class Relay:
    """A training in parts, one job each: where the previous part left its state, and where this one leaves its own.

    ``epochs`` were done before; ``training`` is a hash of what all parts share (:func:`training_of`).
    """

    training: str = ""
    before: Path | None = None
    epochs: int = 0
    after: Path | None = None


WHOLE = Relay()
"""A training in one part."""


@dataclass(frozen=True)
class StateFiles:
    """Where a training keeps its state for a later attempt: in ``resume``, after epochs but the last and within long ones.

    The state there is used if it has the same ``identity``. The parts of a training leave theirs to one another
    (``relay``).
    """

    resume: Path
    identity: str = ""
    relay: Relay = WHOLE


def identity_of(job: Job) -> str:
    """A hash of what the job specifies; fields at their default are left out, so that a new field changes no hash."""
    defaults: Mapping[str, object] = DEFAULTS
    said = {
        key: value
        for key, value in to_json(job).items()
        if key not in COST_FIELDS and (key not in defaults or value != defaults[key])
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def training_of(job: Job) -> str:
    """A hash of the training that a job is part of: the same for all jobs that continue one another."""
    parts = {"job", "predicted", "init_from", "epochs_before", "leaves_state", "stop_epoch", *COST_FIELDS}
    said = {key: value for key, value in to_json(job).items() if key not in parts}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def save_state(state: TrainingState, path: Path, identity: str) -> None:
    """Write the state atomically."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    header = {
        "format": WITHIN if "part" in state else FORMAT,
        "identity": identity,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        file.write(content)


def load_state(
    path: Path, identity: str, device: torch.device, dropped: Callable[[str], None] = lambda reason: None
) -> TrainingState | None:
    """The state, or None if there is none that can be trusted.

    A state that cannot be trusted is removed, and ``dropped`` is told why.
    """
    if not os.path.lexists(path):
        return None
    try:
        return _load(path, identity, device)
    except ValueError as error:
        log.warning("%s is dropped (%s): the training begins at its start", path, error)
        dropped(str(error))
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        log.warning("%s cannot be removed", path)
    return None


def _load(path: Path, identity: str, device: torch.device) -> TrainingState:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    first, _, rest = content.partition(b"\n")
    try:
        header = json.loads(first)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") not in (FORMAT, WITHIN):
        raise ValueError("it was not written by this version")
    if header.get("identity") != identity:
        raise ValueError("it belongs to another job, network, recipe or seed")
    if header.get("sha256") != hashlib.sha256(rest).hexdigest():
        raise ValueError("it is damaged: its checksum does not agree")
    try:
        state: TrainingState = torch.load(io.BytesIO(rest), map_location=device, weights_only=True)
    except (EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f"torch cannot read it: {type(error).__name__}") from error
    if not isinstance(state, dict) or not {"epoch", "model", "optimizer"} <= set(state):
        raise ValueError("it has no epoch, model and optimiser")
    return state
