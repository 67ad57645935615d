"""Charge policies: who pays for the work that serves all targets.

An attempt made for one target is charged to that target alone. An attempt shared by all targets (``target`` null: the
parent's pretraining, the first stage of a search) is charged by policy:

- ``full``: each target pays all of it, as if it were the only one;
- ``amortised``: each of the N targets pays one N-th;
- ``free``: pretraining is free, as if a published checkpoint had been used; other shared work (a search) is paid in full,
  since nobody publishes the search for *this* question.

If a network learned from a teacher, or started from weights that another route had trained, that training is charged as if
its own route had done it: a route that uses the parent, trained by the prune route, pays for that training by the same
policy (:func:`accounting.cost.lineage.work_for`).

Every attempt counts, including failed and lost ones: policies differ in who pays, never in what was spent.

The cost of a target's network is also divided into three parts (:class:`Part`) that add up to ``full``, so the cost under
other terms is arithmetic.

Exports (phase ``export``: other file formats, int8, latency) are charged to nobody. They are made from a network that is
already delivered, and a route must not get more expensive because someone asks for more files.
"""

from __future__ import annotations

from enum import StrEnum

from accounting.cost.attempts import CostView
from accounting.cost.lineage import work_for
from accounting.ledger.records import Phase


class ChargePolicy(StrEnum):
    """How shared work is charged to a target."""

    FULL = "full"
    FREE = "free"
    AMORTISED = "amortised"


class Part(StrEnum):
    """What a charge is for."""

    PRETRAINING = "pretraining"
    """Training the parent, which serves all targets."""
    SHARED = "shared"
    """Other work that serves all targets: the first stage of a search, a supernet."""
    OWN = "own"
    """Work for this target alone."""


def part_of(phase: str, attempt_target: int | None, target: int) -> Part | None:
    """The part of ``target``'s charge to which an attempt belongs; None if the target is not charged for it."""
    if phase == Phase.EXPORT or attempt_target not in (None, target):
        return None
    if attempt_target is not None:
        return Part.OWN
    return Part.PRETRAINING if phase == Phase.PRETRAIN else Part.SHARED


def charge_factor(
    policy: ChargePolicy, *, phase: str, attempt_target: int | None, target: int, num_targets: int
) -> float:
    """The share (0-1) of an attempt's cost that ``target`` pays.

    Raises:
        ValueError: ``num_targets`` is less than 1.

    """
    if num_targets < 1:
        raise ValueError(f"num_targets must be at least 1, got {num_targets}")
    if phase == Phase.EXPORT:
        return 0.0
    if attempt_target is not None:
        return 1.0 if attempt_target == target else 0.0
    if policy is ChargePolicy.AMORTISED:
        return 1.0 / num_targets
    if policy is ChargePolicy.FREE and phase == Phase.PRETRAIN:
        return 0.0
    return 1.0


def charged_s(
    view: CostView, *, route: str, target: int, replicate: int, policy: ChargePolicy, num_targets: int
) -> dict[str, float]:
    """Allocated device-seconds charged to the route's network for ``target``, by phase, including its teachers'.

    Only attempts on devices of the view's unit are summed, so CPU-core-seconds never enter a sum of GPU-seconds. A phase
    with work for this target (or for all) that is free is in the result with 0.
    """
    charged: dict[str, float] = {}
    for phase, (targets, allocated_s) in _work_by_phase(view, route, replicate, target).items():
        factor = {
            of: charge_factor(policy, phase=phase, attempt_target=of, target=target, num_targets=num_targets)
            for of in set(targets)
        }
        total_s = 0.0
        for of, held_s in zip(targets, allocated_s, strict=True):
            total_s += factor[of] * held_s
        charged[phase] = total_s
    return charged


def _work_by_phase(
    view: CostView, route: str, replicate: int, target: int
) -> dict[str, tuple[list[int | None], list[float]]]:
    """By phase the targets and the device-seconds of the attempts on devices of the view's unit; found once."""
    key = (route, replicate, target)
    if (known := view.works_by_phase.get(key)) is not None:
        return known
    found: dict[str, tuple[list[int | None], list[float]]] = {}
    kind = view.device_kind
    for attempt in work_for(view, route, replicate, target):
        if attempt.device_kind == kind:
            if (of_phase := found.get(attempt.phase)) is None:
                of_phase = found[attempt.phase] = [], []
            of_phase[0].append(attempt.target)
            of_phase[1].append(attempt.allocated_s)
    view.works_by_phase[key] = found
    return found
