"""What was planned of a study, as its folder keeps it: one file when it is begun, another each time it is extended.

A plan is never rewritten. It has the jobs that were left when it was made, and beside them what was done and spent by then,
so that planned and actual can be compared for a study that grew.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

from accounting.study.folder import StudyFolder

FORMAT = 1
_NAME = "plan-{number:04d}.json"


class StepFields(TypedDict):
    """A step of a plan in its file; see :class:`PlannedStep`."""

    route: str
    phase: str
    target: int | None
    replicate: int
    jobs: int
    hours: float | None
    jobs_done: int
    spent_hours: float


class PlanFields(TypedDict):
    """A plan in its file; see :class:`StoredPlan`."""

    format: int
    number: int
    session: str
    t: float
    unit: str
    device: str
    speed_macs_per_s: float | None
    num_devices: float
    budget_caps_it: bool
    steps: list[StepFields]
    note: str | None


class NotAPlan(ValueError):
    """A file among the plans of a study that cannot be read as one. One line."""


@dataclass(frozen=True)
class PlannedStep:
    """The jobs of a route and phase for a target (None: for all) and replicate. Hours are device-hours.

    ``jobs`` were left when the plan was made, and would take ``hours`` together; None where no speed was measured.
    ``jobs_done`` were done by then; ``spent_hours`` is what every attempt at any job of the step had held.
    """

    route: str
    phase: str
    target: int | None
    replicate: int
    jobs: int
    hours: float | None
    jobs_done: int = 0
    spent_hours: float = 0.0

    @property
    def key(self) -> tuple[str, str, int | None, int]:
        """Route, phase, target and replicate."""
        return self.route, self.phase, self.target, self.replicate


@dataclass(frozen=True)
class StoredPlan:
    """A plan as it was made at ``t`` (Unix seconds) by ``session``; ``number`` counts from 1.

    ``unit`` as in :class:`accounting.words.names.Unit`. ``speed_macs_per_s`` is what hours were estimated with, measured on
    one ``device``; None where it could not be measured, and ``note`` says why. ``wall_hours`` are on ``num_devices``.
    """

    number: int
    session: str
    t: float
    unit: str
    device: str
    speed_macs_per_s: float | None
    num_devices: float
    budget_caps_it: bool
    steps: tuple[PlannedStep, ...]
    note: str | None = None

    @property
    def hours(self) -> float | None:
        """Device-hours of the whole study as this plan has it: spent by then and left; None without a speed."""
        left = [step.hours for step in self.steps]
        return None if None in left else sum(h or 0.0 for h in left) + self.spent_hours

    @property
    def spent_hours(self) -> float:
        """Device-hours that were spent when the plan was made, of its steps."""
        return sum(step.spent_hours for step in self.steps)

    @property
    def num_jobs(self) -> int:
        """Jobs done by then and left."""
        return sum(step.jobs + step.jobs_done for step in self.steps)


def read_plans(folder: StudyFolder) -> tuple[StoredPlan, ...]:
    """All plans of a study, the first one first; none of a study that older versions began.

    Raises:
        NotAPlan: a file cannot be read, or holds something else.

    """
    return tuple(_read(path) for path in sorted(folder.plans.glob("plan-*.json")))


def store_plan(folder: StudyFolder, plan: StoredPlan) -> Path:
    """Write a plan to a new file, which must not be there, and bring it to the disk."""
    folder.plans.mkdir(exist_ok=True)
    path = folder.plans / _NAME.format(number=plan.number)
    with path.open("x", encoding="utf-8") as file:
        json.dump({"format": FORMAT, **asdict(plan)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return path


def next_number(folder: StudyFolder) -> int:
    """The number of the next plan: one more than the highest there is, whether that can be read or not."""
    found = (path.stem.removeprefix("plan-") for path in folder.plans.glob("plan-*.json"))
    return 1 + max((int(number) for number in found if number.isdigit()), default=0)


def _read(path: Path) -> StoredPlan:
    try:
        document: PlanFields = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
    except (OSError, ValueError) as error:
        raise NotAPlan(f"{path} cannot be read: {' '.join(str(error).split())}; restore it, or move it away") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise NotAPlan(f"{path} is not a plan of format {FORMAT}; restore it, or move it away")
    try:
        return _plan(document)
    except (KeyError, TypeError, ValueError) as error:
        raise NotAPlan(f"{path} is not a complete plan ({error}); restore it, or move it away") from None


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _plan(document: PlanFields) -> StoredPlan:
    speed, note = document["speed_macs_per_s"], document["note"]
    return StoredPlan(
        number=int(document["number"]),
        session=str(document["session"]),
        t=float(document["t"]),
        unit=str(document["unit"]),
        device=str(document["device"]),
        speed_macs_per_s=None if speed is None else float(speed),
        num_devices=float(document["num_devices"]),
        budget_caps_it=bool(document["budget_caps_it"]),
        steps=tuple(_step(step) for step in document["steps"]),
        note=None if note is None else str(note),
    )


def _step(raw: StepFields) -> PlannedStep:
    return PlannedStep(
        route=str(raw["route"]),
        phase=str(raw["phase"]),
        jobs=int(raw["jobs"]),
        jobs_done=int(raw["jobs_done"]),
        target=None if raw["target"] is None else int(raw["target"]),
        replicate=int(raw["replicate"]),
        hours=None if raw["hours"] is None else float(raw["hours"]),
        spent_hours=float(raw["spent_hours"]),
    )
