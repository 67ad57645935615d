"""What was planned for a study, kept in its folder: one file when it begins, and another each time it is extended.

A plan is never rewritten. It lists the jobs that were left when it was made, and what had been done and spent by then, so
that plan and outcome can be compared even for a study that grew.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from accounting.study.folder import StudyFolder
from accounting.words.json_values import Fields
from accounting.words.names import Unit, device_kind

FORMAT = 2
READ = (1, 2)
"""Formats that are read. Format 1 also had the number, which is the file's name, and the unit, which is the device's."""
_NAME = "plan-{number:04d}.json"


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
    """A plan as it was made at ``t`` (Unix seconds) by ``session``; ``number`` counts from 1, and is its file's.

    ``device`` is what the jobs run on, ``cpu`` or ``cuda``, and ``num_devices`` how many of these there were.
    ``speed_macs_per_s`` is what hours were estimated with, measured on one device; None where it could not be measured, and
    ``note`` says why.
    """

    number: int
    session: str
    t: float
    device: str
    speed_macs_per_s: float | None
    num_devices: float
    budget_caps_it: bool
    steps: tuple[PlannedStep, ...]
    note: str | None = None

    @property
    def unit(self) -> Unit:
        """What its hours are."""
        return Unit.of(device_kind(self.device))

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
        fields = {key: value for key, value in asdict(plan).items() if key != "number"}
        json.dump({"format": FORMAT, **fields}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return path


def next_number(folder: StudyFolder) -> int:
    """The number of the next plan: one more than the highest there is, whether that can be read or not."""
    found = (path.stem.removeprefix("plan-") for path in folder.plans.glob("plan-*.json"))
    return 1 + max((int(number) for number in found if number.isdigit()), default=0)


def _read(path: Path) -> StoredPlan:
    try:
        document: Fields = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
    except (OSError, ValueError) as error:
        raise NotAPlan(f"{path} cannot be read: {' '.join(str(error).split())}; restore it, or move it away") from None
    if not isinstance(document, dict) or document.get("format") not in READ:
        raise NotAPlan(f"{path} is not a plan of format {' or '.join(map(str, READ))}; restore it, or move it away")
    try:
        return _plan(document, int(path.stem.removeprefix("plan-")))
    except (KeyError, TypeError, ValueError) as error:
        raise NotAPlan(f"{path} is not a complete plan ({error}); restore it, or move it away") from None


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _plan(document: Fields, number: int) -> StoredPlan:
    steps = document["steps"]
    if not isinstance(steps, list):
        raise TypeError("steps is not a list")
    return StoredPlan(
        number=number,
        session=_text(document, "session"),
        t=_number(document, "t"),
        device=_text(document, "device"),
        speed_macs_per_s=None if document["speed_macs_per_s"] is None else _number(document, "speed_macs_per_s"),
        num_devices=_number(document, "num_devices"),
        budget_caps_it=bool(document["budget_caps_it"]),
        steps=tuple(_step(step) for step in steps),
        note=None if document["note"] is None else _text(document, "note"),
    )


def _step(raw: Fields) -> PlannedStep:
    return PlannedStep(
        route=_text(raw, "route"),
        phase=_text(raw, "phase"),
        target=None if raw["target"] is None else int(_number(raw, "target")),
        replicate=int(_number(raw, "replicate")),
        jobs=int(_number(raw, "jobs")),
        hours=None if raw["hours"] is None else _number(raw, "hours"),
        jobs_done=int(_number(raw, "jobs_done")),
        spent_hours=_number(raw, "spent_hours"),
    )


def _text(raw: Fields, key: str) -> str:
    value = raw[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}")
    return value


def _number(raw: Fields, key: str) -> float:
    value = raw[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{key} is {value!r}")
    return float(value)
