"""What a study will have spent when it is finished, from its stored plan and from what the ledger says was done since.

What is left are the jobs that the plan has and the ledger does not, by route, phase, target and replicate. Each is expected
to take its planned hours × pace. *Pace* is measured ÷ planned hours of the jobs done since the plan was made: those of the
same route and phase if there are any, otherwise of all, otherwise 1. Hours already held by unfinished attempts are
subtracted. A route with a budget starts no training beyond it, so its forecast ends there; evaluations and exports
continue. If the last session ended as done, nothing is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from accounting.cost.shares import counted, spent_h
from accounting.cost.values import Attempt, CostView
from accounting.ledger.records import Phase, Status
from accounting.study.plans import PlannedStep, StoredPlan
from accounting.words.names import route_rank
from accounting.words.quantities import HOUR_S

DONE = "done"
"""The reason with which a session closes once every route has ended."""
_UNBOUND = (Phase.EVALUATE, Phase.EXPORT)
Step = tuple[str, str, int | None, int]


@dataclass(frozen=True)
class RouteForecast:
    """One route over all replicates, in device-hours; ``budget_h`` is None if it has no budget."""

    route: str
    budget_h: float | None
    spent_h: float
    left_h: float | None
    """None if it is unknown, for lack of a plan in hours."""


@dataclass(frozen=True)
class Forecast:
    """Every route, and what is left of exports. ``pace`` is that of all jobs done since the plan; None if there are none.

    ``left_h`` is the number of device-hours left, including exports. It and ``jobs_left`` are None without a plan in hours.
    """

    routes: tuple[RouteForecast, ...]
    left_h: float | None
    exports_left_h: float
    jobs_left: int | None
    pace: float | None


def forecast(plan: StoredPlan | None, view: CostView, budget_h: Mapping[str, float], replicates: int) -> Forecast:
    """What is left according to the latest plan, compared with spending and budgets."""
    spent = spent_h(view)
    planned = () if plan is None else plan.steps
    names = sorted({*(step.route for step in planned), *(route for route, _ in spent)}, key=route_rank)
    pace = None if plan is None or plan.hours is None else _Pace(plan, view)
    if is_done(view):
        left = _Left({}, 0.0, 0)
    elif plan is None or pace is None:
        left = None
    else:
        left = _left(plan, view, pace, budget_h, spent)
    routes = tuple(
        RouteForecast(
            route=route,
            budget_h=budget_h[route] * replicates if route in budget_h else None,
            spent_h=sum(hours for (name, _), hours in spent.items() if name == route),
            left_h=None if left is None else sum(h for (name, _), h in left.by_replicate.items() if name == route),
        )
        for route in names
    )
    whole = None if left is None else sum(left.by_replicate.values()) + left.exports_h
    return Forecast(
        routes, whole, left.exports_h if left else 0.0, left.jobs if left else None, pace.of_all if pace else None
    )


@dataclass(frozen=True)
class _Left:
    """Hours left by route and replicate, hours left of exports, and the number of jobs left."""

    by_replicate: Mapping[tuple[str, int], float]
    exports_h: float
    jobs: int


def is_done(view: CostView) -> bool:
    """Whether the last session closed because every route had ended."""
    return bool(view.sessions) and view.sessions[-1].closed and view.sessions[-1].reason == DONE


class _Pace:
    """Measured ÷ planned hours of the jobs done since the plan was made."""

    def __init__(self, plan: StoredPlan, view: CostView) -> None:
        each_h = {step.key: (step.hours or 0.0) / step.jobs for step in plan.steps if step.jobs}
        ends = {a.attempt: a.end_t for a in view.attempts if a.status is Status.OK}
        measured: dict[tuple[str, str], float] = defaultdict(float)
        planned: dict[tuple[str, str], float] = defaultdict(float)
        since: dict[str, tuple[str, str]] = {}
        for job in view.jobs:
            end_t = min((ends[name] for name in job.attempts if name in ends), default=0.0)
            step: Step = (job.route, job.phase, job.target, job.replicate)
            if job.status is Status.OK and end_t > plan.t and each_h.get(step, 0.0) > 0:
                planned[job.route, job.phase] += each_h[step]
                since[job.job] = job.route, job.phase
        for attempt in counted(view):
            if attempt.job in since:
                measured[since[attempt.job]] += attempt.allocated_s / HOUR_S
        whole = sum(planned.values())
        self.of_all = sum(measured.values()) / whole if whole > 0 else None
        self._by_phase = {key: measured[key] / hours for key, hours in planned.items()}

    def of(self, step: PlannedStep) -> float:
        """The factor by which a job of the step is expected to differ from its plan."""
        found = self._by_phase.get((step.route, step.phase), self.of_all)
        return 1.0 if found is None else found


def _left(
    plan: StoredPlan,
    view: CostView,
    pace: _Pace,
    budget_h: Mapping[str, float],
    spent: Mapping[tuple[str, int], float],
) -> _Left:
    bound: dict[tuple[str, int], float] = defaultdict(float)
    free: dict[tuple[str, int], float] = defaultdict(float)
    exports_h, jobs_left = 0.0, 0
    done, held_h = _done_by_step(view), _held_by_unfinished(view)
    for step in plan.steps:
        jobs = max(0, step.jobs - max(0, done.get(step.key, 0) - step.jobs_done))
        hours = (step.hours or 0.0) / step.jobs * jobs * pace.of(step) if jobs else 0.0
        hours = max(0.0, hours - held_h.get(step.key, 0.0))
        jobs_left += jobs
        if step.phase == Phase.EXPORT:
            exports_h += hours
        else:
            (free if step.phase in _UNBOUND else bound)[step.route, step.replicate] += hours
    left = dict(free)
    for (route, replicate), hours in bound.items():
        if route in budget_h:
            hours = min(hours, max(0.0, budget_h[route] - spent.get((route, replicate), 0.0)))
        left[route, replicate] = left.get((route, replicate), 0.0) + hours
    return _Left(left, exports_h, jobs_left)


def _done_by_step(view: CostView) -> dict[Step, int]:
    done: dict[Step, int] = defaultdict(int)
    for job in view.jobs:
        if job.status is Status.OK:
            done[job.route, job.phase, job.target, job.replicate] += 1
    return done


def _held_by_unfinished(view: CostView) -> dict[Step, float]:
    """Hours held so far by running attempts, by step."""
    held: dict[Step, float] = defaultdict(float)
    for attempt in counted(view):
        if attempt.status is Status.RUNNING:
            held[_step(attempt)] += attempt.allocated_s / HOUR_S
    return held


def _step(attempt: Attempt) -> Step:
    return attempt.route, attempt.phase, attempt.target, attempt.replicate
