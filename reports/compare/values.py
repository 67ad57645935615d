"""What comparisons of a study's contenders come to: typed values, made in :mod:`reports.compare.verdict`."""

from __future__ import annotations

from dataclasses import dataclass

from reports.compare.charges import BreakEven
from reports.compare.guards import Guarded
from reports.compare.rule import ALPHA, Verdict
from reports.statistics import Estimate


@dataclass(frozen=True)
class Instead:
    """A control that makes both contenders needless: their costs over its own, each with its adjusted interval."""

    label: str
    base_ratio: Estimate
    challenger_ratio: Estimate


@dataclass(frozen=True)
class CostComparison:
    """A challenger against pruning for one target and policy.

    ``level`` is a*. ``num_reached`` and ``num_entered`` are, by label, the replicates that reached it and those that are
    done. ``to_quality`` (where reached) and ``total`` are device-hours by label, pruning's under ``prune``. ``alpha`` is the
    level of the interval of ``cost_ratio``, after all corrections; ``settling_n`` the replicates with which there would
    probably be a verdict, where there is none for lack of evidence.
    """

    challenger: str
    target: int
    policy: str
    verdict: Verdict
    cost_ratio: Estimate
    level: float | None
    num_reached: dict[str, int]
    num_entered: dict[str, int]
    to_quality: dict[str, Estimate]
    total: dict[str, Estimate]
    total_cost_ratio: Estimate
    guarded: Guarded | None = None
    alpha: float = ALPHA
    by_more: bool = False
    settling_n: int | None = None
    instead: tuple[Instead, ...] = ()


@dataclass(frozen=True)
class CheapestOfAll:
    """The contender with the lowest cost to a* at a target: pruning's cost over its, and whom it is not shown to beat."""

    label: str
    saving: Estimate
    not_beaten: tuple[str, ...]
    num_others: int

    @property
    def is_shown(self) -> bool:
        """Whether it is shown to be cheaper than every other contender."""
        return self.num_others > 0 and not self.not_beaten


@dataclass(frozen=True)
class CostParts:
    """What a contender was charged to reach a*, in device-hours, means over the replicates that reached it.

    ``pretraining`` is the parent's (as declared, where that is so), ``shared`` other work that serves all targets, ``own``
    what one more target takes. ``builds_on_parent``: it pays for a parent at all.
    """

    label: str
    pretraining: Estimate
    shared: Estimate
    own: Estimate
    total: Estimate
    builds_on_parent: bool


@dataclass(frozen=True)
class RatioBelow:
    """The cost ratio (challenger / prune) at an accuracy ``below`` (a fraction) a*; ``num_reached`` by label, as there."""

    below: float
    level: float
    cost_ratio: Estimate
    num_reached: dict[str, int]


@dataclass(frozen=True)
class PaysAgainst:
    """A challenger against pruning under other terms, at one target.

    ``targets`` is the number of targets at which the two break even, ``price`` the parent's price in device-hours.
    ``levels`` are the ratios at a* and below it. All intervals are at the level of the headline policy's comparison.
    """

    challenger: str
    targets: BreakEven
    price: BreakEven
    levels: tuple[RatioBelow, ...]


@dataclass(frozen=True)
class WhoPays:
    """Who pays for what at one target: the parts of every contender's cost to a*, and where contenders break even.

    ``parent_h`` is what the parent cost in device-hours, mean over replicates (as declared, where it is: without interval).
    """

    level: float
    parent_h: Estimate
    parts: tuple[CostParts, ...]
    against: dict[str, PaysAgainst]


@dataclass(frozen=True)
class PooledPays:
    """The headline's break-evens over all targets whose costs can be compared."""

    challenger: str
    num_targets: int
    targets: BreakEven
    price: BreakEven


@dataclass(frozen=True)
class PooledCosts:
    """A challenger against pruning over all targets at which their costs can be compared, under one policy."""

    verdict: Verdict
    cost_ratio: Estimate
    num_targets: int
    guarded: Guarded | None = None
    alpha: float = ALPHA
    by_more: bool = False
    settling_n: int | None = None
    instead: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudyVerdicts:
    """All comparisons of a study: by target, challenger and policy; pooled by challenger and policy; the cheapest of all."""

    costs: dict[int, dict[str, dict[str, CostComparison]]]
    pooled: dict[str, dict[str, PooledCosts]]
    cheapest: dict[int, dict[str, CheapestOfAll | None]]
