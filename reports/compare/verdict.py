"""Which contender is cheaper at one accuracy, per target and charge policy (RQ2).

For each target there is one accuracy a*: the lower of the median final accuracies of the headline's pair, less the study's
margin. A replicate's cost ratio is what the challenger had been charged when it first reached a*, divided by what pruning
had been charged when *it* first did; above 1, pruning is cheaper. :mod:`reports.compare.judge` turns ratios into verdicts.

The *base* is pruning. The *challenger* is what it is compared with: in the headline the declared one, by default search;
every other contender is compared in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accounting.cost.shares import POLICIES
from accounting.words.names import PRUNE
from reports.compare.accuracy import test_difference
from reports.compare.charges import AS_MEASURED, Terms
from reports.compare.contenders import Contenders
from reports.compare.field import AtTarget, Cheapest, Found, judge_field
from reports.compare.judge import Effort, Judged, judge, judge_pooled, ratio_of
from reports.compare.log_ratio import LogRatio
from reports.compare.reach import Common, Floats
from reports.compare.rule import ALPHA, SAME_FACTOR, TIE_FACTOR, Decision, Verdict, decide, holm, settling_n
from reports.compare.values import CheapestOfAll, CostComparison, Instead, PooledCosts, StudyVerdicts
from reports.statistics import Estimate, mean_interval, ratio_interval


def judge_study(contenders: Contenders, targets: Sequence[int], alpha: float = ALPHA) -> StudyVerdicts:
    """Judge every contender at these targets; ``alpha`` is the level after the correction for looks."""
    costs: dict[int, dict[str, dict[str, CostComparison]]] = {target: {} for target in targets}
    pooled: dict[str, dict[str, PooledCosts]] = {}
    best: dict[int, dict[str, CheapestOfAll | None]] = {target: {} for target in targets}
    for policy in POLICIES:
        judgement = _Judgement(contenders, targets, policy, alpha)
        for label, by_target in judgement.compared().items():
            for target, comparison in by_target.items():
                costs[target].setdefault(label, {})[policy] = comparison
        for label, found in judgement.pooled().items():
            pooled.setdefault(label, {})[policy] = found
        for target, cheap in judgement.cheapest().items():
            best[target][policy] = cheap
    return StudyVerdicts(costs, pooled, best)


@dataclass(frozen=True)
class Asked:
    """Terms other than a charge policy's, and an accuracy ``level`` (a fraction) in place of a*; None: the study's own.

    An accuracy that is asked for must really be reached; a* also counts as reached by replicates that miss it by chance.
    """

    terms: Terms = AS_MEASURED
    level: float | None = None


EXACTLY = 1e-9
"""How far a final accuracy may miss an accuracy that is asked for: rounding errors only."""
ASKED = "asked"
"""Takes the place of a charge policy's name."""


def judge_asked(contenders: Contenders, targets: Sequence[int], asked: Asked, alpha: float = ALPHA) -> StudyVerdicts:
    """:func:`judge_study` under one set of terms, at an accuracy where one is asked for; the policy is :data:`ASKED`."""
    judgement = _Judgement(contenders, targets, ASKED, alpha, asked)
    costs: dict[int, dict[str, dict[str, CostComparison]]] = {target: {} for target in targets}
    for label, by_target in judgement.compared().items():
        for target, comparison in by_target.items():
            costs[target][label] = {ASKED: comparison}
    return StudyVerdicts(
        costs,
        {label: {ASKED: found} for label, found in judgement.pooled().items()},
        {target: {ASKED: found} for target, found in judgement.cheapest().items()},
    )


class _Judgement:
    """The judgement under one charge policy, or under the terms asked for in its place."""

    def __init__(
        self, contenders: Contenders, targets: Sequence[int], policy: str, alpha: float, asked: Asked | None = None
    ) -> None:
        self.contenders, self.targets, self.policy, self.alpha = contenders, tuple(targets), policy, alpha
        self.asked = asked
        self.base, self.challenger = contenders.pair
        self.classes = contenders.num_classes
        self.margin = contenders.info.margin
        self.at = {target: {one.label: one for one in contenders.at(target)} for target in targets}
        self.commons = {target: self._common(target) for target in targets}
        self.efforts = {target: self._efforts(target) for target in targets}
        self.judged: dict[str, dict[int, Judged]] = {}
        self.field: dict[int, Found] = {}
        self._judge()

    def compared(self) -> dict[str, dict[int, CostComparison]]:
        """Comparisons by challenger and target."""
        instead = self._instead()
        return {
            label: {
                target: self._comparison(label, target, found, instead[target] if label == self.challenger else ())
                for target, found in by_target.items()
            }
            for label, by_target in self.judged.items()
        }

    def pooled(self) -> dict[str, PooledCosts]:
        """Pooled comparisons by challenger; a control named in one makes both contenders unnecessary at every target."""
        whole = {label: judge_pooled(list(by_target.values()), self.alpha) for label, by_target in self.judged.items()}
        levels = self._pooled_levels({label: one for label, one in whole.items() if one is not None})
        instead = self._instead()
        found = {}
        for label, one in whole.items():
            if one is None:
                continue
            decision = decide(one.ratio, levels[label])
            named = [{other.label for other in instead[target]} for target in self.judged[label]]
            common = sorted(set.intersection(*named)) if named and label == self.challenger else []
            found[label] = PooledCosts(
                Verdict.NEITHER if common else Judged(one.ratio, one.guarded, decision).verdict,
                ratio_estimate(one.ratio, decision),
                sum(judged.guarded is None for judged in self.judged[label].values()),
                one.guarded,
                decision.alpha,
                decision.by_more,
                _settling(Judged(one.ratio, one.guarded, decision)),
                tuple(common),
                min(self._num_done(target, label) for target in self.judged[label]),
            )
        return found

    def _pooled_levels(self, whole: Mapping[str, Judged]) -> dict[str, float]:
        """The headline has its own level; others are corrected by Holm over contenders. A single target keeps its level."""
        others = [label for label in whole if label != self.challenger]
        tested = [None if whole[label].guarded else whole[label].ratio.p_value() for label in others]
        levels = dict(zip(others, holm(tested, self.alpha), strict=True))
        for label, one in whole.items():
            if label == self.challenger or any(one is judged for judged in self.judged[label].values()):
                levels[label] = one.decision.alpha
        return levels

    def cheapest(self) -> dict[int, CheapestOfAll | None]:
        """The cheapest contender by target."""
        found = {target: self.field[target].cheapest for target in self.targets}
        return {target: None if one is None else _cheapest_of_all(one, self.base) for target, one in found.items()}

    def _common(self, target: int) -> Common:
        if self.asked is not None and self.asked.level is not None:
            return Common(self.asked.level)
        return self.contenders.common(target)

    def _efforts(self, target: int) -> dict[str, Effort]:
        common = self.commons[target]
        if self.asked is None:
            return {
                label: self.contenders.effort(one, target, self.policy, common, self.margin)
                for label, one in self.at[target].items()
            }
        margin = self.margin if self.asked.level is None else EXACTLY
        return {
            label: self.contenders.charges(one, target, common, margin).effort(self.asked.terms)
            for label, one in self.at[target].items()
        }

    def _judge(self) -> None:
        here = [target for target in self.targets if self._meet(target, self.challenger)]
        headline = dict(zip(here, self._judge_headline(here), strict=True))
        controls = {label for at in self.at.values() for label, one in at.items() if one.is_control}
        given = [
            AtTarget(
                self.efforts[target],
                self.commons[target].level,
                headline.get(target),
                sorted(controls - self._less_accurate(target)),
            )
            for target in self.targets
        ]
        pair = self.base, self.challenger
        found = judge_field(given, pair, self.margin, alpha=self.alpha, num_classes=self.classes)
        self.field = dict(zip(self.targets, found, strict=True))
        self.judged = {self.challenger: headline} if headline else {}
        for target, one in self.field.items():
            for label, judged in one.rows.items():
                self.judged.setdefault(label, {})[target] = judged

    def _meet(self, target: int, label: str) -> bool:
        """Whether the base and another contender are both done in some replicate."""
        return self._num_done(target, label) > 0

    def _num_done(self, target: int, label: str) -> int:
        """The number of replicates in which the base and another contender are both done."""
        found = [self.efforts[target].get(name) for name in (self.base, label)]
        done = [~np.isnan(effort.spent) for effort in found if effort is not None]
        return int((done[0] & done[1]).sum()) if len(done) == 2 else 0

    def _judge_headline(self, targets: Sequence[int]) -> list[Judged]:
        pairs = [(self.efforts[target][self.base], self.efforts[target][self.challenger]) for target in targets]
        levels = [self.commons[target].level for target in targets]
        floors = [self._control_floor(target) for target in targets]
        return judge(pairs, levels, alpha=self.alpha, num_classes=self.classes, controls=floors)

    def _control_floor(self, target: int) -> float | None:
        """Mean final accuracy of the control that spent the least."""
        spent = {
            label: float(np.nanmean(self.efforts[target][label].spent))
            for label, one in self.at[target].items()
            if one.is_control and np.isfinite(self.efforts[target][label].spent).any()
        }
        if not spent:
            return None
        final = self.efforts[target][min(spent, key=lambda label: spent[label])].entered
        return float(np.nanmean(final)) if np.isfinite(final).any() else None

    def _instead(self) -> dict[int, tuple[Instead, ...]]:
        return {
            target: tuple(
                Instead(
                    label,
                    self._over(target, self.base, label, first),
                    self._over(target, self.challenger, label, second),
                )
                for label, (first, second) in one.instead.items()
            )
            for target, one in self.field.items()
        }

    def _over(self, target: int, label: str, control: str, decision: Decision) -> Estimate:
        efforts = self.efforts[target]
        return ratio_estimate(ratio_of(efforts[label], efforts[control]), decision)

    def _less_accurate(self, target: int) -> set[str]:
        """Controls that are shown, on the test split, to be less accurate than one of the pair."""
        pair = [self.at[target][name] for name in (self.base, self.challenger) if name in self.at[target]]
        return {
            label
            for label, one in self.at[target].items()
            if one.is_control
            for of_pair in pair
            if (high := test_difference(self.contenders, one, of_pair, target).high) is not None and high < 0
        }

    def _comparison(self, label: str, target: int, found: Judged, instead: tuple[Instead, ...]) -> CostComparison:
        both = {label: self.efforts[target][label], PRUNE: self.efforts[target][self.base]}
        done = {name: ~np.isnan(effort.spent) for name, effort in both.items()}
        totals = {name: _by_replicate(effort.spent, done[name]) for name, effort in both.items()}
        return CostComparison(
            challenger=label,
            target=target,
            policy=self.policy,
            verdict=Verdict.NEITHER if instead else found.verdict,
            cost_ratio=ratio_estimate(found.ratio, found.decision),
            level=self.commons[target].level,
            num_reached={name: effort.num_reached for name, effort in both.items()},
            num_entered={name: int(of_one.sum()) for name, of_one in done.items()},
            to_quality={
                name: mean_interval(list(effort.cost[done[name] & np.isfinite(effort.cost)]), at_least=0.0)
                for name, effort in both.items()
            },
            total={name: mean_interval(list(of_one.values()), at_least=0.0) for name, of_one in totals.items()},
            total_cost_ratio=ratio_interval(totals[label], totals[PRUNE]),
            guarded=found.guarded,
            alpha=found.decision.alpha,
            by_more=found.decision.by_more,
            settling_n=_settling(found),
            instead=instead,
        )


def cheaper_route(verdict: Verdict, challenger: str) -> str:
    """The name of the contender that the verdict favours; otherwise the verdict's own."""
    return {Verdict.BASE: PRUNE, Verdict.CHALLENGER: challenger}.get(verdict, verdict.value)


def decide_interval(ratio: Estimate) -> Verdict:
    """The verdict of a ratio interpolated between targets, whose interval is an envelope rather than a t-interval."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return Verdict.INSUFFICIENT_EVIDENCE
    if (ratio.low > 1 or ratio.high < 1) and not 1 / SAME_FACTOR <= ratio.value <= SAME_FACTOR:
        return Verdict.BASE if ratio.low > 1 else Verdict.CHALLENGER
    inside = ratio.low >= 1 / TIE_FACTOR and ratio.high <= TIE_FACTOR
    return Verdict.TIE if inside else Verdict.INSUFFICIENT_EVIDENCE


def ratio_estimate(ratio: LogRatio, decision: Decision) -> Estimate:
    """A ratio with the interval from which its verdict follows."""
    value = None if ratio.mean is None else math.exp(min(ratio.mean, 700.0))
    sd = ratio.sd if ratio.has_interval else None
    return Estimate(value, decision.low, decision.high, sd, ratio.n)


def _settling(found: Judged) -> int | None:
    mean, sd = found.ratio.mean, found.ratio.sd_in_all
    if found.verdict is not Verdict.INSUFFICIENT_EVIDENCE or mean is None or sd is None:
        return None
    n = settling_n(mean, sd, found.decision.alpha)
    return None if n is None else max(n, found.ratio.n + 1)


def _cheapest_of_all(found: Cheapest, base: str) -> CheapestOfAll:
    saving = Estimate(1.0 if found.label == base else None, None, None, None, 0)
    if base in found.ratios:
        saving = ratio_estimate(found.ratios[base], found.decisions[base])
    not_beaten = tuple(label for label, one in found.decisions.items() if one.verdict is not Verdict.BASE)
    return CheapestOfAll(found.label, saving, not_beaten, len(found.decisions))


def _by_replicate(values: Floats, here: NDArray[np.bool_]) -> Mapping[int, float]:
    return {int(place): float(values[place]) for place in np.flatnonzero(here)}
