"""``plan`` as the user sees it: what the estimate rests on first, then jobs and hours by route, phase and target."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import torch

from accounting.cost.attempts import derive
from accounting.cost.shares import spent_s
from accounting.ledger.records import Phase
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from accounting.words.names import unit_text
from accounting.words.quantities import macs_text
from harness.config.plugin_files import use_listed
from harness.config.study import StudyConfig
from harness.console.terminal import aligned
from harness.data.registry import open_dataset
from harness.devices import choose_device
from harness.errors import InputError
from harness.latency.target import resolve_targets
from harness.plan import NOTHING_KNOWN, TIMED_FOR_S, PlanSummary, plan_study
from harness.routes.base import View
from harness.scheduling.scheduler import known_outcomes
from harness.stored.study_file import absolute, check_folder, stored_config
from harness.validation import check_declared, check_study

PHASE_TEXT = {str(Phase.EXPORT): "exports (charged to no route)"}


class DataSummary(TypedDict):
    """The data that a plan rests on; ``is_assumed``: it was not found."""

    num_train: int
    num_val: int
    num_test: int
    num_classes: int
    image_shape: list[int]
    where: str
    is_assumed: bool
    notes: list[str]


class ParentSummary(TypedDict):
    """The parent, its MACs of one image, and what it is declared to have cost, which no job spends (null: nothing)."""

    name: str
    macs: int
    declared_cost: str | None
    source: str | None


class StudySummary(PlanSummary):
    """What ``plan`` says. ``missing``: what ``run`` would refuse; ``executes``: files of the user's that it executes."""

    data: DataSummary
    parent: ParentSummary
    missing: str | None
    executes: list[str]


def summarise(given: StudyConfig, folder: Path | None = None, timed_for_s: float = TIMED_FOR_S) -> StudySummary:
    """What `plan` says of a study, as JSON-able values; ``InputError`` for what cannot work.

    Of a study whose ``folder`` is there: what is left of it, as ``given`` resumes or extends it. ``timed_for_s`` is how long
    steps of the parent are timed.
    """
    files = use_listed(given.plugins)
    known, searched, spent = NOTHING_KNOWN, {}, {}
    if folder is None or not StudyFolder(folder).config.exists():
        study = resolve_targets(given, None)
    else:
        paths = StudyFolder(folder.resolve())
        standing = check_folder(resolve_targets(absolute(given), stored_config(paths)), paths)
        study, searched, known = standing.config, standing.searched, known_outcomes(paths)
        spent = spent_s(derive(read_ledger(paths.ledger).records))
    device = choose_device(study.resources.device, torch.cuda.device_count())
    check_declared(study, "cuda" if device == "cuda" else "cpu_core")
    view = replace(check_study(study, need_data=False), searched=searched)
    num_devices = torch.cuda.device_count() if device == "cuda" else _num_cpus()
    missing = _missing(study)
    return {
        **plan_study(view, device, known, spent, timed_for_s).summary(study, num_devices),
        "data": _data(view, is_assumed=missing is not None),
        "parent": {
            "name": study.parent.timm or f"{study.parent.family} {study.parent.variant}",
            "macs": view.parent_macs,
            "declared_cost": study.parent.declared_cost,
            "source": study.parent.source,
        },
        "missing": missing,
        "executes": [file.text for file in files],
    }


def format_plan(summary: StudySummary) -> str:
    """The summary as text for a terminal."""
    unit = unit_text(summary["unit"])
    phases = [
        [row["route"], PHASE_TEXT.get(row["phase"], row["phase"]), str(row["num_jobs"]), f"{row['hours']:.3g}"]
        for row in sorted(summary["phases"], key=lambda row: bool(row["phase"] == Phase.EXPORT))
    ]
    charged = [
        [row["route"], row["policy"], f"{row['target']:,}", f"{row['hours']:.3g}"] for row in summary["per_target"]
    ]
    lines = [
        *_head(summary),
        "",
        *_done(summary),
        f"{summary['num_jobs']} jobs, {summary['hours']:.3g} {unit} (estimate)",
        aligned(["route", "phase", "jobs", unit], phases, num_text_columns=2),
        "",
        f"charged to one target and replicate, {unit}",
        aligned(["route", "policy", "target (MACs)", unit], charged, num_text_columns=2),
        "",
        f"about {duration_text(summary['wall_hours'])} on {summary['num_devices']:g} "
        f"{'GPU(s)' if summary['device'] == 'cuda' else 'CPU core(s)'}, at {summary['speed_macs_per_s'] / 1e9:.3g} "
        f"GMACs/s measured here on the parent; budgets {'cap it' if summary['budget_caps_it'] else 'do not cap it'}",
    ]
    if summary["missing"]:
        lines.append(f"before `run`: {summary['missing']}")
    return "\n".join(lines)


def _head(summary: StudySummary) -> list[str]:
    """What the estimate rests on; where the data was not found, that comes first."""
    data, parent = summary["data"], summary["parent"]
    parts = ((data["num_train"], "training"), (data["num_val"], "validation"), (data["num_test"], "test"))
    counts = ", ".join(f"{count:,} {name}" for count, name in parts if count)
    found = f"{counts} images of {data['num_classes']:,} classes, {'x'.join(str(n) for n in data['image_shape'])}"
    first = f"{summary['study']}: {found}, from {data['where']}"
    if data["is_assumed"]:
        first = f"{summary['study']}: data not found, so assumed: {found} (looked for in {data['where']})"
    shape = f"parent {parent['name']}: {parent['macs']:,} MACs ({macs_text(parent['macs'])}) per image"
    declared = (
        []
        if parent["declared_cost"] is None
        else [f"parent: declared, not planned here: {parent['declared_cost']} ({parent['source']}); in no figure below"]
    )
    executes = (f"executes {file}" for file in summary["executes"])
    return [first, *(f"data: {note}" for note in data["notes"]), shape, *declared, *executes]


def _done(summary: StudySummary) -> list[str]:
    done = summary["num_done"]
    return [f"{done} of {done + summary['num_jobs']} jobs are done already; what follows is left"] if done else []


def _data(view: View, *, is_assumed: bool) -> DataSummary:
    info, dataset = view.info, view.config.dataset
    return {
        "num_train": info.num_train,
        "num_val": getattr(info, "num_val", 0),
        "num_test": getattr(info, "num_test", 0),
        "num_classes": info.num_classes,
        "image_shape": list(info.image_shape),
        "where": dataset.path or dataset.name,
        "is_assumed": is_assumed,
        "notes": list(getattr(info, "notes", ())),
    }


def _missing(study: StudyConfig) -> str | None:
    """What `run` would refuse on this machine, or fetch first."""
    if study.dataset.download:
        return f"the data set {study.dataset.timm_name} will be downloaded to {study.dataset.path}"
    try:
        open_dataset(study.dataset).check()
    except InputError as error:
        return str(error)
    return None


def _num_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def duration_text(hours: float) -> str:
    """``0.05`` → ``3 min``; for people, so two or three figures."""
    for unit, size in (("years", 8766), ("days", 24), ("h", 1)):
        if hours >= 2 * size:
            return f"{hours / size:.3g} {unit}"
    return f"{hours * 60:.3g} min"
