"""The values of a study's status. Hours are device-hours in the study's unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accounting.cost.values import Session
from accounting.ledger.driver_lock import Driver
from accounting.ledger.undelivered import Undelivered
from accounting.words.names import Unit
from reports.data.caveats import Caveats
from reports.data.repeated import RepeatedWork

STATES = ("done", "running", "failed", "interrupted")
"""The states of a job, in the order in which they are shown."""


@dataclass(frozen=True)
class JobsRow:
    """The number of jobs of a route and phase in each state."""

    route: str
    phase: str
    by_state: Mapping[str, int]
    """In the order of :data:`STATES`."""


@dataclass(frozen=True)
class Spend:
    """What a route spent in a replicate, and its budget (None: no limit)."""

    route: str
    replicate: int
    spent_h: float
    budget_h: float | None


@dataclass(frozen=True)
class Best:
    """The best validation accuracy so far at a target, and the first replicate that reached it."""

    target: int
    route: str
    val_top1: float
    replicate: int


@dataclass(frozen=True)
class StudyStatus:
    """The state of a study."""

    study: str
    is_rehearsal: bool
    unit: Unit
    session: Session | None
    """The last session; None if the study has never been run."""
    driver: Driver
    jobs: tuple[JobsRow, ...]
    spend: tuple[Spend, ...]
    exports_h: float
    """What exports were allocated, which no route is charged with."""
    start_ups_h: float
    """What start-ups were allocated in which no attempt began, which no route is charged with either."""
    allocated_h: Mapping[Unit, float]
    """All hours on record, each unit apart."""
    best: tuple[Best, ...]
    undelivered: tuple[Undelivered, ...]
    repeated: tuple[RepeatedWork, ...]
    caveats: Caveats

    @property
    def totals(self) -> dict[str, int]:
        """The number of all jobs in each state."""
        return {state: sum(row.by_state[state] for row in self.jobs) for state in STATES}

    @property
    def uncharged_h(self) -> dict[str, float]:
        """What no route is charged with, by its use."""
        return {"exports": self.exports_h, "start_ups": self.start_ups_h}
