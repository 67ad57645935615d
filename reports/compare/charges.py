"""Who pays: what contenders were charged, in three parts; the cost under other terms; and where two contenders break even.

The cost at which a contender reached an accuracy is divided into the parent's pretraining, other work that serves all
targets, and work for this target (:class:`accounting.cost.charges.Part`), up to the moment at which it got there with all
work charged. So the cost with another price of the parent, or with another number of targets that share the common work, is
arithmetic.

A *break-even* is the price, or the number of targets, at which the mean logarithm of the cost ratio is 0. Its interval
contains all values at which the ratio's own interval contains 1; outside it, one of the two is shown to be cheaper. Pure
functions of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reports.compare.judge import Effort, ratio_of
from reports.compare.log_ratio import LogRatio, pooled
from reports.compare.many_terms import Bounds, bounds_under
from reports.compare.reach import NO_SWAY, Floats, slope_of
from reports.compare.rule import ALPHA

MOST_TARGETS = 10_000.0
"""The largest number of targets at which a break-even is looked for."""
PRICE_SPAN = 1_000.0
"""A break-even price is looked for up to this many times the cost of the most expensive contender."""
NUM_STEPS = 49
"""Values tried between the limits, evenly spaced on a logarithmic axis, before one is narrowed down."""
NUM_HALVINGS = 40
HALVINGS_AHEAD = 4
"""For so many halvings the bounds are computed together, which takes less time than one by one."""


@dataclass(frozen=True)
class Terms:
    """Who pays: shared work is divided among ``targets_served``, and the parent costs ``parent_h`` device-hours.

    With ``parent_h`` None, the parent costs what the study says: the declared cost, or what its pretraining took.
    """

    targets_served: float = 1.0
    parent_h: float | None = None


AS_MEASURED = Terms()


@dataclass(frozen=True)
class Parts:
    """Device-hours by replicate, in parts that add up to the charge if this target pays for all work."""

    pretraining: Floats
    shared: Floats
    own: Floats

    @property
    def total(self) -> Floats:
        """The sum, by replicate."""
        return self.pretraining + self.shared + self.own

    def under(self, terms: Terms, builds_on_parent: NDArray[np.bool_]) -> Floats:
        """The sum under other terms, by replicate."""
        parent = (
            self.pretraining if terms.parent_h is None else np.where(builds_on_parent, terms.parent_h, self.pretraining)
        )
        return (parent + self.shared) / terms.targets_served + self.own


@dataclass(frozen=True)
class Charges:
    """What a contender showed and was charged at one target, by replicate.

    ``final`` is its final accuracy (NaN: no network), ``reached`` its cost to reach the common accuracy (``own`` is
    infinite if it did not), ``spent`` all that it was charged (NaN: it is not done), and ``builds_on_parent`` says whether
    that includes pretraining the parent. ``around`` is its cost to reach half a point less and half a point more, ``sway``
    how far each replicate pulls the common accuracy; they are None and empty if that accuracy is fixed.
    """

    label: str
    final: Floats
    reached: Parts
    spent: Parts
    builds_on_parent: NDArray[np.bool_]
    around: tuple[Parts, Parts] | None = None
    sway: Floats = field(default_factory=lambda: NO_SWAY)

    def effort(self, terms: Terms = AS_MEASURED) -> Effort:
        """The same under these terms, as a judgement takes it."""
        cost, spent = (parts.under(terms, self.builds_on_parent) for parts in (self.reached, self.spent))
        if self.around is None:
            return Effort(self.final, cost, spent)
        lower, higher = (parts.under(terms, self.builds_on_parent) for parts in self.around)
        return Effort(self.final, cost, spent, slope_of(lower, higher), self.sway)


@dataclass(frozen=True)
class BreakEvenEnds:
    """From where to where a break-even goes over the ranges of declared rates of GPU models.

    ``never`` are the labels of contenders that are cheaper at every value at some end, where the costs never meet.
    """

    low: float
    high: float
    never: tuple[str, ...] = ()


@dataclass(frozen=True)
class BreakEven:
    """Where base and challenger cost the same, with the interval outside which one is shown to be cheaper.

    ``below`` and ``above`` are the labels of the cheaper contender, as far as known, below and above ``value``. If the
    costs never meet within the limits, ``value`` is None and both labels are the same. Below ``low`` and above ``high`` one
    is shown to be cheaper; None means nowhere on that side or, with ``is_shown_everywhere``, at every value. ``n`` counts
    replicates. ``ends`` is set if it depends on what hours on other GPU models count as (:mod:`reports.compare.at_ends`);
    what is shown is then shown at all ends.
    """

    value: float | None
    low: float | None
    high: float | None
    below: str | None
    above: str | None
    alpha: float
    n: int
    is_shown_everywhere: bool = False
    ends: BreakEvenEnds | None = None

    @property
    def is_never(self) -> bool:
        """Whether costs are known and the same contender is cheaper at every value."""
        return self.value is None and self.below is not None


Pairs = Sequence[tuple[Charges, Charges]]
"""(base, challenger) at each target; several targets are pooled."""


def ratio_under(pairs: Pairs, terms: Terms) -> LogRatio:
    """Cost ratio challenger / base under these terms; several targets are pooled within replicates."""
    ratios = [ratio_of(challenger.effort(terms), base.effort(terms)) for base, challenger in pairs]
    return ratios[0] if len(ratios) == 1 else pooled(ratios)


def break_even_targets(pairs: Pairs, *, parent_h: float | None = None, alpha: float = ALPHA) -> BreakEven:
    """The number of targets, all like these, beyond which the other contender is cheaper; looked for up to 10,000."""
    values = [float(value) for value in np.geomspace(1.0, MOST_TARGETS, NUM_STEPS)]
    return _break_even(pairs, values, lambda value: Terms(value, parent_h), alpha)


def break_even_price(pairs: Pairs, *, targets_served: float = 1.0, alpha: float = ALPHA) -> BreakEven:
    """The parent's price in device-hours above which the other contender is cheaper; 0 counts as a price."""
    finite = [float(np.nanmax(parts)) for pair in pairs for one in pair if len(parts := _finite(one.spent.total))]
    most = max(finite, default=0.0) * PRICE_SPAN
    if most <= 0:
        return BreakEven(None, None, None, None, None, alpha, 0)
    values = [0.0, *(float(value) for value in np.geomspace(most / PRICE_SPAN**2, most, 2 * NUM_STEPS))]
    return _break_even(pairs, values, lambda value: Terms(targets_served, value), alpha)


def _break_even(pairs: Pairs, values: Sequence[float], terms: Callable[[float], Terms], alpha: float) -> BreakEven:
    known: dict[float, Bounds | None] = {}

    def prepare(asked: Sequence[float]) -> None:
        if (plain := bounds_under(pairs, [terms(value) for value in asked], alpha)) is not None:
            known.update(zip(asked, plain, strict=True))

    def at(value: float) -> Bounds | None:
        if value not in known:
            known[value] = _bounds(ratio_under(pairs, terms(value)), alpha)
        return known[value]

    def where(first: float, last: float, holds: Callable[[Bounds | None], bool]) -> float:
        return _narrowed(first, last, lambda value: holds(at(value)), prepare)

    prepare(values)
    found = [at(value) for value in values]
    seen = [one for one in found if one is not None]
    if not pairs or len(seen) < len(values):
        return BreakEven(None, None, None, None, None, alpha, 0)
    base, challenger = pairs[0][0].label, pairs[0][1].label
    means = [one[0] for one in seen]
    n = seen[0][3]
    below = base if means[0] > 0 else challenger
    place = next((i for i, mean in enumerate(means) if (mean > 0) != (means[0] > 0)), None)
    if place is None:
        open_at = [i for i, one in enumerate(seen) if not _is_shown(one)]
        if not open_at:
            return BreakEven(None, None, None, below, below, alpha, n, is_shown_everywhere=True)
        first, last = open_at[0], open_at[-1]
        low = None if first == 0 else where(values[first - 1], values[first], _is_shown)
        high = None if last + 1 == len(values) else where(values[last], values[last + 1], _is_shown)
        return BreakEven(None, low, high, below, below, alpha, n)
    value = where(values[place - 1], values[place], lambda one: _mean(one) > 0)
    above = challenger if below == base else base
    edges = [_edge(outwards, value, lambda x: _is_shown(at(x))) for outwards in (values[:place][::-1], values[place:])]
    low, high = (None if edge is None else where(*edge, _is_shown) for edge in edges)
    return BreakEven(value, low, high, below, above, alpha, n)


def _edge(outwards: Sequence[float], start: float, is_shown: Callable[[float], bool]) -> tuple[float, float] | None:
    """The first value, going outwards, at which a contender is shown to be cheaper, after the one before it."""
    inside = start
    for value in outwards:
        if is_shown(value):
            return inside, value
        inside = value
    return None


def _narrowed(
    first: float, last: float, holds: Callable[[float], bool], prepare: Callable[[Sequence[float]], None]
) -> float:
    """Where ``holds`` changes between the two values, by bisection on a logarithmic axis (linear if one is 0).

    ``prepare`` is told beforehand for which values ``holds`` may be asked, several halvings at a time.
    """
    at_first = holds(first)
    for turn in range(NUM_HALVINGS):
        if turn % HALVINGS_AHEAD == 0:
            prepare(_middles(first, last, HALVINGS_AHEAD))
        middle = _middle(first, last)
        if holds(middle) == at_first:
            first = middle
        else:
            last = middle
        if abs(last - first) <= 1e-6 * max(first, last):
            break
    return (first + last) / 2


def _middle(first: float, last: float) -> float:
    return math.sqrt(first * last) if min(first, last) > 0 else (first + last) / 2


def _middles(first: float, last: float, num_halvings: int) -> list[float]:
    """Every value for which so many halvings may ask."""
    if num_halvings == 0:
        return []
    middle = _middle(first, last)
    halves = (first, middle), (middle, last)
    return [middle, *(value for half in halves for value in _middles(*half, num_halvings - 1))]


def _bounds(ratio: LogRatio, alpha: float) -> Bounds | None:
    mean, bounds = ratio.mean, ratio.interval(alpha)
    if mean is None:
        return None
    low, high = (0.0, math.inf) if bounds is None else bounds
    return mean, low, high, ratio.n


def _mean(found: Bounds | None) -> float:
    return math.nan if found is None else found[0]


def _is_shown(found: Bounds | None) -> bool:
    """Whether the ratio's interval excludes 1."""
    return found is not None and (found[1] > 1 or found[2] < 1)


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]
