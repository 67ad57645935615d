"""Planned and actual cost by route and phase."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from accounting.cost.entries import START_UP
from accounting.cost.values import CostView
from accounting.ledger.records import Phase, Status
from accounting.study.plans import StoredPlan
from accounting.words.names import route_rank
from accounting.words.quantities import HOUR_S

PHASES = [*(phase.value for phase in Phase), START_UP]


@dataclass(frozen=True)
class Step:
    """A route's phase as planned and in fact; ``planned_h`` is None if the plan has no hours.

    ``jobs_planned`` and ``planned_h`` are for the whole study. ``jobs_done`` counts jobs with an outcome. ``actual_h`` is
    what all attempts have held, including unfinished ones.
    """

    route: str
    phase: str
    jobs_planned: int
    jobs_done: int
    planned_h: float | None
    actual_h: float

    @property
    def planned_done_h(self) -> float | None:
        """The planned hours of as many jobs as are done."""
        if self.planned_h is None or self.jobs_planned == 0:
            return self.planned_h
        return self.planned_h * min(1.0, self.jobs_done / self.jobs_planned)


def planned_steps(plan: StoredPlan | None, view: CostView) -> tuple[Step, ...]:
    """Steps by route and phase, in device-hours of the study's unit; start-ups have neither route nor plan."""
    actual_h: dict[tuple[str, str], float] = defaultdict(float)
    planned_h: dict[tuple[str, str], float | None] = {}
    planned: Counter[tuple[str, str]] = Counter()
    for step in plan.steps if plan is not None else ():
        key = step.route, step.phase
        planned[key] += step.jobs + step.jobs_done
        so_far = planned_h.get(key, 0.0)
        planned_h[key] = None if so_far is None or step.hours is None else so_far + step.hours + step.spent_hours
    for attempt in view.attempts:
        if attempt.device_kind == view.device_kind:
            actual_h[attempt.route, attempt.phase] += attempt.allocated_s / HOUR_S
    for start in view.startups:
        if start.device_kind == view.device_kind:
            actual_h["", START_UP] += start.allocated_s / HOUR_S
    done = Counter((job.route, job.phase) for job in view.jobs if job.status is Status.OK)
    keys = sorted({*planned, *actual_h}, key=lambda key: (key[0] == "", route_rank(key[0]), PHASES.index(key[1])))
    has_hours = plan is not None and plan.hours is not None
    return tuple(
        Step(*key, planned[key], done[key], planned_h.get(key, 0.0) if has_hours else None, actual_h[key])
        for key in keys
    )
