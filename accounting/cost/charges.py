"""Who pays for what comes before the target: charge policies.

An attempt made for one target is charged to that target alone. An attempt shared by all targets (``target`` null: the
parent's pretraining, the first stage of a search) is charged by policy:

- ``full``: each target pays all of it, as if it were the only one;
- ``amortised``: each of the N targets pays one N-th;
- ``free``: pretraining is free (a published checkpoint was at hand); other shared work (a search) is paid in full,
  since nobody publishes the search for *this* question.

What a network learned from, and what another route trained that it started from, is charged as if its own route had trained
it: a route that uses the parent, trained by the prune route, pays for that training by the same policy (:func:`work_for`).

Every attempt counts, failed and lost ones too: the policies differ in who pays, never in what was spent.

So that other ways to pay are arithmetic, what a target's network took is also divided into three parts (:class:`Part`) that
add up to ``full``.

Exports (phase ``export``: other file formats, int8, latency) are charged to nobody: they are made of a network that is
already delivered, and a route does not become dearer because one asks for more files of what it found.
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
    """Done for this target alone."""


def part_of(phase: str, attempt_target: int | None, target: int) -> Part | None:
    """The part of ``target``'s charge that an attempt belongs to; None where it is not charged to it at all."""
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
    """Allocated device-seconds that the route's network for ``target`` is charged, by phase; its teachers' among them.

    Only attempts on devices of the view's unit are summed: CPU-core-seconds never enter a sum of GPU-seconds. A phase
    that was worked on for this target (or for all) but is free is in the result with 0.
    """
    charged: dict[str, float] = {}
    kind = view.device_kind
    factors: dict[tuple[str, int | None], float] = {}
    for attempt in work_for(view, route, replicate, target):
        if attempt.device_kind != kind:
            continue
        phase, of = attempt.phase, attempt.target
        if (factor := factors.get((phase, of))) is None:
            factor = factors[phase, of] = charge_factor(
                policy, phase=phase, attempt_target=of, target=target, num_targets=num_targets
            )
        charged[phase] = charged.get(phase, 0.0) + factor * attempt.allocated_s
    return charged
