"""How far a study is and what is left of it: its planned jobs compared with its ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from accounting.cost.shares import counted, spent_s
from accounting.cost.values import CostView
from accounting.cost.values import Job as LedgerJob
from accounting.ledger.records import Phase, Status
from accounting.ledger.specs import JobSpec
from accounting.ledger.undelivered import Undelivered
from accounting.words.quantities import HOUR_S
from harness.jobs.job import Job
from harness.jobs.work import Deliver
from harness.scheduling.simulated import PlannedJob

Step = tuple[str, str, int | None, int]
"""Route, phase, target and replicate. Which job of a search wins is not known beforehand, but the number of jobs is."""
Expect = Callable[[], Sequence[PlannedJob]]
"""Returns the planned jobs of a study as if it had no budgets; this takes some time."""


@dataclass(frozen=True)
class Outlook:
    """The number of jobs done and planned, and the share (0-1) of the planned time that is done."""

    num_done: int
    num_planned: int
    share: float


def outlook(planned: Sequence[PlannedJob], view: CostView) -> Outlook:
    """How far the study is."""
    missing = _missing(planned, view.jobs)
    total_s = sum(job.seconds for job in planned)
    left_s = sum(count * seconds for count, seconds in missing.values())
    done = sum(job.status is Status.OK for job in view.jobs)
    return Outlook(done, max(len(planned), done), 1.0 if total_s <= 0 else 1.0 - left_s / total_s)


def undelivered(
    planned: Sequence[PlannedJob],
    view: CostView,
    budget_h: dict[str, float | None],
    planned_pace: float | None = None,
) -> list[Undelivered]:
    """The planned networks that no job of the ledger has delivered.

    What they need is scaled by the pace of the jobs that were done, or by ``planned_pace`` if none was.
    """
    delivered = {
        (_label(job.spec), job.target, job.replicate)
        for job in view.attempts
        if job.status is Status.OK and _label(job.spec) is not None
    }
    pace, missing, spent = _pace(planned, view), _missing(planned, view.jobs), spent_s(view)
    by_plan = pace is None and planned_pace is not None
    pace = planned_pace if pace is None else pace
    found = []
    for job in (p.job for p in planned):
        if not isinstance(job.work, Deliver) or job.target is None:
            continue
        label = job.work.label
        if (label, job.target, job.replicate) in delivered:
            continue
        delivered.add((label, job.target, job.replicate))
        by_replicate_s = {r: spent.get((job.route, r), 0.0) for r in {each.job.replicate for each in planned}}
        needs = None
        if pace is not None:
            whole_s = [by_now_s + pace * _left_s(missing, job.route, r) for r, by_now_s in by_replicate_s.items()]
            needs = pace * _left_s(missing, job.route, job.replicate, job.target) / HOUR_S, max(whole_s) / HOUR_S
        found.append(
            Undelivered(
                label=label,
                route=job.route,
                target=job.target,
                replicate=job.replicate,
                spent_h=by_replicate_s[job.replicate] / HOUR_S,
                budget_h=budget_h.get(job.route),
                needs_h=needs and needs[0],
                budget_needed_h=needs and needs[1],
                by_plan=by_plan,
            )
        )
    return found


def _left_s(missing: dict[Step, tuple[int, float]], route: str, replicate: int, target: int | None = None) -> float:
    """Planned seconds of a route's jobs that are not done: all, or those of one target and those that targets share."""
    return sum(
        count * seconds
        for step, (count, seconds) in missing.items()
        if step[0] == route
        and step[1] != Phase.EXPORT
        and step[3] == replicate
        and (target is None or step[2] in (None, target))
    )


def _missing(planned: Sequence[PlannedJob], jobs: Iterable[LedgerJob]) -> dict[Step, tuple[int, float]]:
    """The number of jobs that are not done, and the planned seconds of one, by step."""
    done = Counter(_step(job) for job in jobs if job.status is Status.OK)
    seconds: dict[Step, list[float]] = {}
    for each in planned:
        seconds.setdefault(_step(each.job), []).append(each.seconds)
    return {step: (max(0, len(times) - done[step]), sum(times) / len(times)) for step, times in seconds.items()}


def _pace(planned: Sequence[PlannedJob], view: CostView) -> float | None:
    """Measured over planned device-seconds of the jobs that were done; None if there are none."""
    seconds: dict[Step, list[float]] = {}
    for each in planned:
        seconds.setdefault(_step(each.job), []).append(each.seconds)
    ok = {job.job for job in view.jobs if job.status is Status.OK}
    planned_s = measured_s = 0.0
    for job in view.jobs:
        if job.status is Status.OK and (times := seconds.get(_step(job))):
            planned_s += sum(times) / len(times)
    for attempt in counted(view):
        if attempt.job in ok and (attempt.route, attempt.phase, attempt.target, attempt.replicate) in seconds:
            measured_s += attempt.allocated_s
    return measured_s / planned_s if planned_s > 0 else None


def _step(job: Job | LedgerJob) -> Step:
    return job.route, str(job.phase), job.target, job.replicate


def _label(spec: JobSpec) -> str | None:
    deliver = spec.get("deliver") if isinstance(spec, dict) else None
    return str(deliver["label"]) if isinstance(deliver, dict) and "label" in deliver else None
