"""The results of comparing a study's contenders, as typed values; :mod:`reports.compare.verdict` makes them."""

from __future__ import annotations

from dataclasses import dataclass

from reports.compare.charges import BreakEven
from reports.compare.guards import Guarded
from reports.compare.rule import ALPHA, Verdict
from reports.statistics import Estimate


@dataclass(frozen=True)
class Instead:
    """A control that makes both contenders unnecessary: the ratios of their costs to its cost, with adjusted intervals."""

    label: str
    base_ratio: Estimate
    challenger_ratio: Estimate


@dataclass(frozen=True)
class CostComparison:
    """A challenger against pruning for one target and policy.

    ``level`` is a*. ``num_reached`` and ``num_entered`` count, by label, the replicates that reached it and those that are
    done. ``to_quality`` (where reached) and ``total`` are device-hours by label, with pruning's under ``prune``. ``alpha``
    is the level of the interval of ``cost_ratio`` after all corrections. If evidence is insufficient, ``settling_n`` is the
    number of replicates with which there would probably be a verdict.
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
    """The contender with the lowest cost to a* at a target: pruning's cost / its cost, and whom it is not shown to beat."""

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
    """What a contender was charged to reach a*, in device-hours: means over the replicates that reached it.

    ``pretraining`` is the parent's (the declared cost if there is one), ``shared`` other work that serves all targets, and
    ``own`` the cost of one more target. ``builds_on_parent``: whether it pays for a parent at all.
    """

    label: str
    pretraining: Estimate
    shared: Estimate
    own: Estimate
    total: Estimate
    builds_on_parent: bool


@dataclass(frozen=True)
class RatioBelow:
    """The cost ratio (challenger / prune) at an accuracy ``below`` (a fraction) a*; ``num_reached`` is by label."""

    below: float
    level: float
    cost_ratio: Estimate
    num_reached: dict[str, int]


@dataclass(frozen=True)
class PaysAgainst:
    """A challenger against pruning under other terms, at one target.

    The two break even at ``targets`` targets, or at a parent's price of ``price`` device-hours. ``levels`` are the ratios at
    a* and below it. All intervals have the level of the headline policy's comparison.
    """

    challenger: str
    targets: BreakEven
    price: BreakEven
    levels: tuple[RatioBelow, ...]


@dataclass(frozen=True)
class WhoPays:
    """Who pays for what at one target: the parts of every contender's cost to a*, and where contenders break even.

    ``parent_h`` is what the parent cost in device-hours: the mean over replicates, or the declared cost without an interval.
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
    num_done: int = 0
    """Replicates in which both contenders are done, at the target that has the fewest."""

    @property
    def n(self) -> int:
        """How many replicates it rests on: those of the ratio or, if costs are not compared, those that are done."""
        return self.cost_ratio.n or self.num_done


@dataclass(frozen=True)
class StudyVerdicts:
    """All comparisons of a study: by target, challenger and policy; pooled, by challenger and policy; and the cheapest."""

    costs: dict[int, dict[str, dict[str, CostComparison]]]
    pooled: dict[str, dict[str, PooledCosts]]
    cheapest: dict[int, dict[str, CheapestOfAll | None]]
