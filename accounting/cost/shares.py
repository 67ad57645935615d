"""What a route spent on one replicate and target, under each charge policy, in device-hours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import overload

from accounting.cost.attempts import Attempt, CostView
from accounting.cost.charges import ChargePolicy, Part, charge_factor, charged_s, part_of
from accounting.cost.lineage import needed, work_for
from accounting.cost.so_far import SpentAttempt, SpentView
from accounting.cost.values import StartUp
from accounting.ledger.records import Phase
from accounting.study.facts import DeclaredParent
from accounting.words.names import DeviceKind
from accounting.words.quantities import HOUR_S

POLICIES: tuple[str, ...] = tuple(
    policy.value for policy in (ChargePolicy.FULL, ChargePolicy.FREE, ChargePolicy.AMORTISED)
)
HEADLINE_POLICY: str = ChargePolicy.FULL.value


def route_attempts(view: CostView, route: str, replicate: int, target: int) -> list[Attempt]:
    """The attempts that served a route for this target: its own, those shared by all targets, and those it builds on."""
    return work_for(view, route, replicate, target)


def charged_rate(view: CostView, attempt: Attempt, policy: str, target: int, num_targets: int) -> float:
    """The share (0-1) of an attempt's allocated device-seconds that is charged to this target.

    It is 0 for an attempt on another kind of device than the study's unit.
    """
    if attempt.device_kind != view.device_kind:
        return 0.0
    return charge_factor(
        ChargePolicy(policy),
        phase=attempt.phase,
        attempt_target=attempt.target,
        target=target,
        num_targets=num_targets,
    )


def rates_of(attempts: Sequence[Attempt], *rates: Callable[[Attempt], float]) -> list[list[float]]:
    """By each of the ``rates`` that of each attempt; it is asked once for a kind of device, phase and target."""
    known: dict[tuple[DeviceKind, str, int | None], int] = {}
    first: list[Attempt] = []
    sorts = []
    for attempt in attempts:
        sort = known.setdefault((attempt.device_kind, attempt.phase, attempt.target), len(known))
        if sort == len(first):
            first.append(attempt)
        sorts.append(sort)
    of_sorts = [list(map(rate, first)) for rate in rates]
    return [list(map(of_sort.__getitem__, sorts)) for of_sort in of_sorts]


def part_rate(view: CostView, attempt: Attempt, part: Part, target: int) -> float:
    """The share (0 or 1) of an attempt's allocated device-seconds that belongs to this part of the target's full charge."""
    if attempt.device_kind != view.device_kind:
        return 0.0
    return float(part_of(attempt.phase, attempt.target, target) is part)


def route_cost_h(view: CostView, policy: str, route: str, replicate: int, target: int, num_targets: int) -> float:
    """Everything that the route spent on a replicate and target under the policy, including failed and lost attempts."""
    by_phase = charged_s(
        view,
        route=route,
        target=target,
        replicate=replicate,
        policy=ChargePolicy(policy),
        num_targets=num_targets,
    )
    return sum(by_phase.values()) / HOUR_S


def jobs_cost_h(view: CostView, jobs: Iterable[str], policy: str, target: int, num_targets: int) -> float:
    """What the target is charged for all attempts at these jobs under the policy, in device-hours."""
    of_jobs = [attempt for job in dict.fromkeys(jobs) for attempt in view.by_job.get(job, ())]
    return sum(
        charged_rate(view, attempt, policy, target, num_targets) * attempt.allocated_s / HOUR_S for attempt in of_jobs
    )


def with_declared(view: CostView, declared: DeclaredParent | None) -> CostView:
    """A view in which each pretraining of the parent has the declared cost in place of its own, divided in proportion.

    Use it only for charges, since the declared cost is not in the ledger. A loaded parent also has a job in that phase.
    """
    if declared is None:
        return view
    held_s: dict[tuple[str, int], float] = {}
    for attempt in view.attempts:
        if attempt.phase == Phase.PRETRAIN and attempt.target is None and attempt.device_kind == view.device_kind:
            key = (attempt.route, attempt.replicate)
            held_s[key] = held_s.get(key, 0.0) + attempt.allocated_s
    return replace(
        view,
        attempts=tuple(
            replace(a, allocated_s=a.allocated_s * declared.hours * HOUR_S / held_s[a.route, a.replicate])
            if a.phase == Phase.PRETRAIN and a.target is None and held_s.get((a.route, a.replicate), 0.0) > 0
            else a
            for a in view.attempts
        ),
    )


@overload
def counted(view: CostView) -> Iterator[Attempt]: ...
@overload
def counted(view: SpentView) -> Iterator[SpentAttempt]: ...
def counted(view: CostView | SpentView) -> Iterator[Attempt | SpentAttempt]:
    """The attempts that count in the study's unit: those on devices of its kind."""
    return (attempt for attempt in view.attempts if attempt.device_kind == view.device_kind)


def spent_s(view: CostView | SpentView) -> dict[tuple[str, int], float]:
    """Allocated device-seconds by (route, replicate), which budgets limit: every attempt once, without exports."""
    spent: dict[tuple[str, int], float] = {}
    for attempt in counted(view):
        if attempt.phase != Phase.EXPORT:
            key = (attempt.route, attempt.replicate)
            spent[key] = spent.get(key, 0.0) + attempt.allocated_s
    return spent


def spent_h(view: CostView) -> dict[tuple[str, int], float]:
    """The same in device-hours."""
    return {key: seconds / HOUR_S for key, seconds in spent_s(view).items()}


def network_h(view: CostView, job: str) -> tuple[float, float]:
    """Device-hours of all attempts at a job and at those it needed: without pre-training, and of pre-training."""
    jobs = set(needed(view.links, job))
    seconds = {True: 0.0, False: 0.0}
    for attempt in counted(view):
        if attempt.job in jobs:
            seconds[attempt.phase == Phase.PRETRAIN] += attempt.allocated_s
    return seconds[False] / HOUR_S, seconds[True] / HOUR_S


def exports_h(view: CostView) -> float:
    """Allocated device-hours of exports, which are charged to no route."""
    return sum(attempt.allocated_s for attempt in counted(view) if attempt.phase == Phase.EXPORT) / HOUR_S


def startups_h(view: CostView) -> float:
    """Device-hours of start-ups in which no attempt began: overhead, charged to no route."""
    return sum(start.allocated_s for start in view.startups if start.device_kind == view.device_kind) / HOUR_S


def ledger_h(view: CostView) -> dict[DeviceKind, float]:
    """All device-hours on record, by kind of device; every attempt and start-up counts once."""
    total: dict[DeviceKind, float] = {}
    everything: list[Attempt | StartUp] = [*view.attempts, *view.startups]
    for held in everything:
        total[held.device_kind] = total.get(held.device_kind, 0.0) + held.allocated_s / HOUR_S
    return total
