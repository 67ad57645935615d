"""What a route spent for one replicate and target, under each charge policy, in device-hours."""

from __future__ import annotations

from collections.abc import Iterable

from accounting.cost.attempts import Attempt, CostView
from accounting.cost.charges import ChargePolicy, charge_factor, charged_s
from accounting.cost.values import StartUp
from accounting.ledger.records import Phase
from accounting.words.names import DeviceKind
from accounting.words.quantities import HOUR_S

POLICIES: tuple[str, ...] = tuple(
    policy.value for policy in (ChargePolicy.FULL, ChargePolicy.FREE, ChargePolicy.AMORTISED)
)
HEADLINE_POLICY: str = ChargePolicy.FULL.value


def route_attempts(view: CostView, route: str, replicate: int, target: int) -> list[Attempt]:
    """Attempts of a route that served this target: its own, and those shared by all targets."""
    return [
        attempt
        for attempt in view.attempts
        if attempt.route == route and attempt.replicate == replicate and attempt.target in (target, None)
    ]


def charged_rate(view: CostView, attempt: Attempt, policy: str, target: int, num_targets: int) -> float:
    """Share (0-1) of the attempt's allocated device-seconds that this target is charged with.

    Zero for an attempt on devices of another kind than the study's unit counts.
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


def route_cost_h(view: CostView, policy: str, route: str, replicate: int, target: int, num_targets: int) -> float:
    """Everything the route spent for a replicate and target, failed and lost attempts included, under the policy."""
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
    """What the target is charged of all attempts at these jobs under the policy, in device-hours."""
    wanted = set(jobs)
    return sum(
        charged_rate(view, attempt, policy, target, num_targets) * attempt.allocated_s / HOUR_S
        for attempt in view.attempts
        if attempt.job in wanted
    )


def spent_h(view: CostView) -> dict[tuple[str, int], float]:
    """Allocated device-hours by (route, replicate), every attempt but exports once: what budgets are about."""
    spent: dict[tuple[str, int], float] = {}
    for attempt in view.attempts:
        if attempt.device_kind == view.device_kind and attempt.phase != Phase.EXPORT:
            key = (attempt.route, attempt.replicate)
            spent[key] = spent.get(key, 0.0) + attempt.allocated_s / HOUR_S
    return spent


def exports_h(view: CostView) -> float:
    """Allocated device-hours of exports, which no route is charged with."""
    held = [a.allocated_s for a in view.attempts if a.device_kind == view.device_kind and a.phase == Phase.EXPORT]
    return sum(held) / HOUR_S


def startups_h(view: CostView) -> float:
    """Device-hours of start-ups in which no attempt began: overhead that no route is charged with."""
    return sum(start.allocated_s for start in view.startups if start.device_kind == view.device_kind) / HOUR_S


def ledger_h(view: CostView) -> dict[DeviceKind, float]:
    """All device-hours on record by kind of device, every attempt and start-up once."""
    total: dict[DeviceKind, float] = {}
    everything: list[Attempt | StartUp] = [*view.attempts, *view.startups]
    for held in everything:
        total[held.device_kind] = total.get(held.device_kind, 0.0) + held.allocated_s / HOUR_S
    return total
