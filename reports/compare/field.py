"""All contenders of a study as one family of claims, so that table, headline and figures cannot contradict each other.

The family is contenders × targets: each contender except the headline's challenger is compared with the base, at the level
that Holm's procedure gives it. Every other statement about two contenders at a target uses these levels, too: a claim of
the family is not tested again, and any other claim has the stricter level of its two contenders. To say that one contender
is the cheapest, or that a control makes both of the pair unnecessary, every single claim must be shown (an
intersection-union test); this needs no further correction within the target.

The headline's pair has levels of its own, corrected over targets only (:func:`reports.compare.judge.judge`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.compare.guards import LEAST_REACHED, Guarded, Obstacle, chance_limit
from reports.compare.judge import Effort, Judged, guard_of, ratio_of
from reports.compare.log_ratio import NO_RATIO, LogRatio
from reports.compare.rule import ALPHA, Decision, Verdict, decide, holm


@dataclass(frozen=True)
class Cheapest:
    """The contender that reached the common accuracy at the lowest cost, and the ratio of every other cost to its cost.

    It ``is_shown`` if each of the others is shown to cost more. ``ratios`` and ``decisions`` are by the other's label; if
    the two cannot be compared, the decision's verdict is the guard's.
    """

    label: str
    ratios: dict[str, LogRatio]
    decisions: dict[str, Decision]

    @property
    def is_shown(self) -> bool:
        """Whether it is shown to be cheaper than each other contender."""
        return bool(self.decisions) and all(found.verdict is Verdict.BASE for found in self.decisions.values())


@dataclass(frozen=True)
class AtTarget:
    """The input for one target.

    ``efforts`` are by label, ``level`` is the common accuracy, ``headline`` the judgement of the pair (None: one of them is
    missing), and ``controls`` those that may make the pair unnecessary.
    """

    efforts: Mapping[str, Effort]
    level: float | None
    headline: Judged | None
    controls: Collection[str] = ()


@dataclass(frozen=True)
class Found:
    """The result for one target.

    ``rows`` are judgements against the base by label, without the pair. ``instead`` has the controls that make the pair
    unnecessary, being as accurate as the pair and shown to be cheaper than each of the two, with the decisions about
    (base / control, challenger / control).
    """

    rows: dict[str, Judged]
    cheapest: Cheapest | None
    instead: dict[str, tuple[Decision, Decision]]


def judge_field(
    targets: Sequence[AtTarget],
    pair: tuple[str, str],
    margin: float,
    *,
    alpha: float = ALPHA,
    num_classes: int | None = None,
) -> list[Found]:
    """For each target: every contender against the base, the cheapest of all, and controls that make the pair unnecessary.

    A control is as accurate if its median final accuracy is at most ``margin`` below the better of the pair, and not near
    chance. For controls that make the pair unnecessary, the guard against very different accuracies does not apply; every
    other guard does.
    """
    fields = [_Field(given, pair, margin, num_classes) for given in targets]
    claims = [(field, label) for field in fields for label in field.others]
    levels = holm([field.p_value(label) for field, label in claims], alpha)
    for (field, label), level in zip(claims, levels, strict=True):
        field.alphas[label] = level
    return [field.found(alpha) for field in fields]


class _Field:
    """One target: its claims, and their levels once Holm's procedure has been applied."""

    def __init__(self, given: AtTarget, pair: tuple[str, str], margin: float, num_classes: int | None) -> None:
        self.given, self.pair, self.num_classes = given, pair, num_classes
        self.efforts = given.efforts
        self.alphas: dict[str, float] = {}
        base = self.efforts.get(pair[0])
        self.others = [
            label
            for label, effort in self.efforts.items()
            if base is not None and label not in pair and _meet(base, effort)
        ]
        self.candidates = self._candidates(margin)

    def p_value(self, label: str) -> float | None:
        """The p-value of a contender against the base."""
        held = self._held_even_apart if label in self.candidates else self._guard
        if held(label, self.pair[0]) is not None:
            return None
        return self._ratio(label, self.pair[0]).p_value()

    def found(self, alpha: float) -> Found:
        """The result for the target; ``alpha`` is the level of the whole family."""
        instead = {}
        for label in self.candidates:
            if any(self._held_even_apart(label, one) is not None for one in self.pair):
                continue
            first, second = (decide(self._ratio(one, label), self._alpha(one, label, alpha)) for one in self.pair)
            if first.verdict is Verdict.BASE and second.verdict is Verdict.BASE:
                instead[label] = first, second
        rows = {}
        for label in self.others:
            decision = decide(self._ratio(label, self.pair[0]), self._alpha(label, self.pair[0], alpha))
            rows[label] = Judged(
                self._ratio(label, self.pair[0]), self._between(label, self.pair[0], instead), decision
            )
        return Found(rows, self._cheapest(instead, alpha), instead)

    def _cheapest(self, instead: Collection[str], alpha: float) -> Cheapest | None:
        competing = {
            label: effort
            for label, effort in self.efforts.items()
            if effort.num_reached >= min(LEAST_REACHED, max(1, len(effort.entered)))
        }
        if not competing:
            return None
        reference = self.pair[0] if self.pair[0] in competing else next(iter(competing))
        means = {label: self._ratio(label, reference).mean for label in competing}
        best = min(means, key=lambda name: math.inf if (mean := means[name]) is None else mean)
        ratios = {label: self._ratio(label, best) for label in competing if label != best}
        decisions = {}
        for label, ratio in ratios.items():
            decision, held = decide(ratio, self._alpha(label, best, alpha)), self._between(label, best, instead)
            decisions[label] = decision if held is None else replace(decision, verdict=held.verdict)
        return Cheapest(best, ratios, decisions)

    def _candidates(self, margin: float) -> list[str]:
        if not all(name in self.efforts for name in self.pair):
            return []
        medians = [self.efforts[name].median for name in self.pair]
        best = max((median for median in medians if not math.isnan(median)), default=math.nan)
        chance = 0.0 if self.num_classes is None else chance_limit(self.num_classes)
        least = max(best - margin, chance)
        named = [label for label in self.given.controls if label in self.efforts]
        return [label for label in named if not math.isnan(best) and self.efforts[label].median >= least]

    def _alpha(self, first: str, second: str, alpha: float) -> float:
        """The level of a claim about two contenders."""
        if {first, second} == set(self.pair):
            return alpha if self.given.headline is None else self.given.headline.decision.alpha
        known = [self.alphas[label] for label in (first, second) if label in self.alphas]
        return min(known) if known else alpha / max(1, len(self.efforts) - 1)

    def _between(self, first: str, second: str, instead: Collection[str]) -> Guarded | None:
        held = self._guard(first, second)
        is_moot = held is not None and held.obstacle is Obstacle.APART and (first in instead or second in instead)
        return None if is_moot else held

    def _guard(self, first: str, second: str) -> Guarded | None:
        if {first, second} == set(self.pair) and self.given.headline is not None:
            return self.given.headline.guarded
        return guard_of(self.efforts[second], self.efforts[first], self.given.level, self.num_classes)

    def _held_even_apart(self, first: str, second: str) -> Guarded | None:
        """The guard for a control and one of the pair, which may be much less accurate."""
        return guard_of(
            self.efforts[second], self.efforts[first], self.given.level, self.num_classes, may_be_apart=True
        )

    def _ratio(self, above: str, below: str) -> LogRatio:
        return NO_RATIO if self.given.level is None else ratio_of(self.efforts[above], self.efforts[below])


def _meet(first: Effort, second: Effort) -> bool:
    """Whether both are done in some replicate."""
    return bool((~np.isnan(first.spent) & ~np.isnan(second.spent)).any())
