"""The files that jobs leave for later jobs: their checksums, and whether they are still as recorded.

The outcome of an attempt that writes weights has ``weights_sha256`` and ``masks_sha256`` (None: no masks). If the attempt
leaves the state of its training for another job, the outcome has ``state_sha256``. Outcomes of older versions have no
checksums; their files are checked as far as possible (they load, are finite, and fit the network).
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import torch
from safetensors import SafetensorError

from accounting.ledger.outcomes import FileSums, JobOutcome
from accounting.ledger.records import Phase
from accounting.study.facts import DataFacts
from accounting.study.folder import StudyFolder
from harness.jobs.job import Job
from harness.jobs.start import InheritedFrom, StructureOf
from harness.jobs.work import Score, Train
from harness.models.build import build_network, load_tensors, without_pretrained
from pruning.masks import from_tensors
from pruning.resize import fit_to_state

WRITERS = frozenset({Phase.PRETRAIN, Phase.SUPERNET, Phase.RETRAIN, Phase.PRUNE, Phase.FINETUNE})
"""Phases whose jobs write weights."""


def leaves_files(job: Job) -> bool:
    """Whether the job leaves files that another job may need."""
    return job.phase in WRITERS or (isinstance(job.work, Train) and job.work.leaves_state)


class DamagedFiles(RuntimeError):
    """The files that a job starts from are not as recorded; the job ``source`` must be run again."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(f"{problem} of job {source}: it is run again")
        self.source = source


class FileFacts(FileSums, TypedDict, total=False):
    """What is recorded about a job's files; for an old outcome without checksums, whether there must be masks."""

    masked: bool


@dataclass(frozen=True)
class Given:
    """What an attempt is told in addition to its job, as plain values.

    ``recorded`` has what is recorded about the files that it uses (:func:`file_facts`), by the job that wrote them.
    ``again`` says why a job that has an outcome is run once more. ``data`` describes the data when the session began
    (``harness/data/unchanged.py``); None: it is not compared.
    """

    recorded: dict[str, FileFacts] = field(default_factory=dict)
    again: str | None = None
    data: DataFacts | None = None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(job: str, paths: StudyFolder) -> FileSums:
    """The checksums of a job's files, as they go into its outcome."""
    masks = paths.masks(job)
    return {
        "weights_sha256": sha256_of(paths.weights(job)),
        "masks_sha256": sha256_of(masks) if masks.exists() else None,
    }


def file_facts(outcome: JobOutcome) -> FileFacts:
    """What an outcome says about its job's files; for an old outcome, whether the network must have had masks."""
    if "weights_sha256" in outcome:
        return {"weights_sha256": outcome["weights_sha256"], "masks_sha256": outcome.get("masks_sha256")}
    if "state_sha256" in outcome:
        return {"state_sha256": outcome["state_sha256"]}
    macs, dense = outcome.get("macs"), outcome.get("dense_macs")
    return {"masked": bool(macs and dense and macs < 0.999 * dense)}


def files_problem(source: str, facts: FileFacts, paths: StudyFolder) -> str | None:
    """What is wrong with a job's files, such as ``deleted masks``; None if they verify."""
    weights, masks = paths.weights(source), paths.masks(source)
    if "weights_sha256" in facts:
        return _differs(weights, facts["weights_sha256"], "weights") or _differs(masks, facts["masks_sha256"], "masks")
    if "state_sha256" in facts:
        return _differs(paths.state(source), facts["state_sha256"], "training state")
    if facts.get("masked") and not masks.exists():
        return "deleted masks"
    return _unreadable(weights, "weights") or (_unreadable(masks, "masks") if masks.exists() else None)


def forget_states(paths: StudyFolder) -> None:
    """Remove the states that jobs left for others to continue, once nothing will be continued."""
    for state in paths.checkpoints.glob("*/state.pt"):
        state.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder stays if it holds other files of the job
            state.parent.rmdir()


def check_sources(job: Job, paths: StudyFolder, given: Given) -> None:
    """Check the files that the job starts from.

    Raises:
        DamagedFiles: one of them does not verify.

    """
    for source, facts in given.recorded.items():
        problem = files_problem(source, facts, paths)
        if problem is None and not {"weights_sha256", "state_sha256"} & facts.keys():
            problem = _misfit(job, source, paths)
        if problem is not None:
            raise DamagedFiles(source, problem)


def _differs(path: Path, recorded: str | None, what: str) -> str | None:
    if not path.is_file():
        return None if recorded is None else f"deleted {what}"
    try:
        found = sha256_of(path)
    except OSError:
        return f"unreadable {what}"
    return None if found == recorded else f"changed {what} (damaged, or those of another network)"


def _unreadable(path: Path, what: str) -> str | None:
    if not path.is_file():
        return f"deleted {what}"
    try:
        tensors = load_tensors(path)
    except (SafetensorError, OSError, ValueError):
        return f"unreadable {what}"
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values() if tensor.is_floating_point())
    return None if finite else f"{what} with numbers that are not finite"


def _misfit(job: Job, source: str, paths: StudyFolder) -> str | None:
    """Whether old weights, which have no checksum, belong to another network than the job says."""
    if isinstance(job.start, StructureOf) or source != job.source:
        return None
    try:
        state = load_tensors(paths.weights(source))
        if isinstance(job.start, InheritedFrom) or isinstance(job.work, Score):
            supernet = job.start.supernet if isinstance(job.start, InheritedFrom) else job.network
            build_network(supernet).load_state_dict(state)
            return None
        model = fit_to_state(build_network(without_pretrained(job.network)), state)
        if paths.masks(source).exists():
            shapes = {name: value.shape for name, value in model.state_dict().items()}
            masks = from_tensors(load_tensors(paths.masks(source)))
            if any(shapes.get(name) != mask.shape for name, mask in masks.items()):
                return "masks of another network instead of those"
    except (RuntimeError, KeyError, ValueError, IndexError, AttributeError):
        return "weights of another network instead of those"
    return None
