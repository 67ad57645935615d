"""Which contender is cheaper at one accuracy, per target and charge policy (RQ2).

One accuracy a* for a target: the lower of the headline pair's median final accuracies, less the study's margin. What the
challenger had been charged when it first had a*, over what pruning had been charged when *it* first had it, is a cost ratio
of a replicate; above 1, pruning is cheaper. :mod:`reports.compare.judge` says how ratios become verdicts.

The *base* is pruning, the *challenger* what it is compared with: search in the headline, every other contender beside it.
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
from reports.compare.judge import Cheapest, Effort, Judged, cheapest, judge, judge_controls, judge_pooled, ratio_of
from reports.compare.log_ratio import LogRatio
from reports.compare.reach import Floats, common_level
from reports.compare.rule import ALPHA, SAME_FACTOR, TIE_FACTOR, Decision, Verdict, decide, holm, settling_n
from reports.compare.values import CheapestOfAll, CostComparison, Instead, PooledCosts, StudyVerdicts
from reports.statistics import Estimate, mean_interval, ratio_interval


def judge_study(contenders: Contenders, targets: Sequence[int], alpha: float = ALPHA) -> StudyVerdicts:
    """Judge every contender at these targets; ``alpha`` is the level after a correction for looks."""
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
    """Other terms than a charge policy's, and an accuracy (a fraction) in the place of a*; None: the study's own.

    An accuracy that is asked for counts as reached where it was; the study's own a* takes what missed it by chance, too.
    """

    terms: Terms = AS_MEASURED
    level: float | None = None


EXACTLY = 1e-9
"""By how much a final accuracy may miss one that is asked for: the rounding of sums."""
ASKED = "asked"
"""In the place of a charge policy's name."""


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
    """One charge policy, or what was asked for in its place."""

    def __init__(
        self, contenders: Contenders, targets: Sequence[int], policy: str, alpha: float, asked: Asked | None = None
    ) -> None:
        self.contenders, self.targets, self.policy, self.alpha = contenders, tuple(targets), policy, alpha
        self.asked = asked
        self.base, self.challenger = contenders.pair
        self.classes = contenders.num_classes
        self.margin = contenders.info.margin
        self.at = {target: {one.label: one for one in contenders.at(target)} for target in targets}
        self.levels = {target: self._level(target) for target in targets}
        self.efforts = {target: self._efforts(target) for target in targets}
        self.judged: dict[str, dict[int, Judged]] = {}
        self._judge()

    def compared(self) -> dict[str, dict[int, CostComparison]]:
        """By challenger and target."""
        instead = self._instead()
        return {
            label: {
                target: self._comparison(label, target, found, instead[target] if label == self.challenger else ())
                for target, found in by_target.items()
            }
            for label, by_target in self.judged.items()
        }

    def pooled(self) -> dict[str, PooledCosts]:
        """By challenger; the control that is named there makes both needless at every target."""
        found = {}
        instead = self._instead()
        for label, by_target in self.judged.items():
            whole = judge_pooled(list(by_target.values()), self.alpha)
            if whole is None:
                continue
            named = [{one.label for one in instead[target]} for target in by_target]
            common = sorted(set.intersection(*named)) if named and label == self.challenger else []
            found[label] = PooledCosts(
                Verdict.NEITHER if common else whole.verdict,
                ratio_estimate(whole.ratio, whole.decision),
                sum(judged.guarded is None for judged in by_target.values()),
                whole.guarded,
                whole.decision.alpha,
                whole.decision.by_more,
                _settling(whole),
                tuple(common),
            )
        return found

    def cheapest(self) -> dict[int, CheapestOfAll | None]:
        """By target."""
        found = cheapest([self.efforts[target] for target in self.targets], self.base, self.alpha)
        return {
            target: None if one is None else _cheapest_of_all(one, self.base)
            for target, one in zip(self.targets, found, strict=True)
        }

    def _level(self, target: int) -> float | None:
        if self.asked is not None and self.asked.level is not None:
            return self.asked.level
        labels = [label for label in (self.base, self.challenger) if label in self.at[target]]
        if len(labels) < 2:  # no headline here: the routes that there are
            labels = [label for label, one in self.at[target].items() if not one.is_control]
        finals = [self.contenders.entered(self.at[target][label], target) for label in labels]
        return common_level(finals, self.margin) if len(labels) > 1 else None

    def _efforts(self, target: int) -> dict[str, Effort]:
        level = self.levels[target]
        at = math.inf if level is None else level
        if self.asked is None:
            return {
                label: self.contenders.effort(one, target, self.policy, at, self.margin)
                for label, one in self.at[target].items()
            }
        margin = self.margin if self.asked.level is None else EXACTLY
        return {
            label: self.contenders.charges(one, target, at, margin).effort(self.asked.terms)
            for label, one in self.at[target].items()
        }

    def _judge(self) -> None:
        self.judged = {}
        here = [target for target in self.targets if self._meet(target, self.challenger)]
        if here:
            self.judged[self.challenger] = dict(zip(here, self._judge_pairs(here, self.challenger), strict=True))
        others = dict.fromkeys(label for target in self.targets for label in self.efforts[target])
        further = {
            label: [target for target in self.targets if self._meet(target, label)]
            for label in others
            if label not in (self.base, self.challenger)
        }
        claims = [(label, target) for label, targets in further.items() for target in targets]
        alone = {
            label: self._judge_pairs(targets, label, corrected=False) for label, targets in further.items() if targets
        }
        for label, found in alone.items():
            self.judged[label] = dict(zip(further[label], found, strict=True))
        p_values = [
            None if (one := self.judged[label][target]).guarded else one.ratio.p_value() for label, target in claims
        ]
        for (label, target), level in zip(claims, holm(p_values, self.alpha), strict=True):
            one = self.judged[label][target]
            self.judged[label][target] = Judged(one.ratio, one.guarded, decide(one.ratio, level))

    def _meet(self, target: int, label: str) -> bool:
        """Whether the base and another are both done in some replicate."""
        found = [self.efforts[target].get(name) for name in (self.base, label)]
        done = [~np.isnan(effort.spent) for effort in found if effort is not None]
        return len(done) == 2 and bool((done[0] & done[1]).any())

    def _judge_pairs(self, targets: Sequence[int], label: str, *, corrected: bool = True) -> list[Judged]:
        pairs = [(self.efforts[target][self.base], self.efforts[target][label]) for target in targets]
        levels = [self.levels[target] for target in targets]
        floors = [self._control_floor(target) if corrected else None for target in targets]
        return judge(pairs, levels, alpha=self.alpha, num_classes=self.classes, controls=floors)

    def _control_floor(self, target: int) -> float | None:
        """Mean final accuracy of the control that spent least."""
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
        controls = sorted({label for at in self.at.values() for label, one in at.items() if one.is_control})
        found = judge_controls(
            [self._without_less_accurate(target) for target in self.targets],
            (self.base, self.challenger),
            controls,
            self.margin,
            alpha=self.alpha,
            num_classes=self.classes,
        )
        return {
            target: tuple(
                Instead(label, *(self._over(target, pair, label, decision) for pair, decision in zip(
                    (self.base, self.challenger), decisions, strict=True
                )))
                for label, decisions in of_target.items()
            )
            for target, of_target in zip(self.targets, found, strict=True)
        }  # fmt: skip

    def _over(self, target: int, label: str, control: str, decision: Decision) -> Estimate:
        efforts = self.efforts[target]
        return ratio_estimate(ratio_of(efforts[label], efforts[control]), decision)

    def _without_less_accurate(self, target: int) -> dict[str, Effort]:
        """The efforts, less those of controls that are shown on test to be less accurate than one of the pair."""
        kept = dict(self.efforts[target])
        for label, one in self.at[target].items():
            for name in (self.base, self.challenger):
                if one.is_control and name in self.at[target]:
                    apart = test_difference(self.contenders, one, self.at[target][name], target)
                    if apart.high is not None and apart.high < 0:
                        kept.pop(label, None)
        return kept

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
            level=self.levels[target],
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
    """The verdict by name: the contender that it is for, or what else it says."""
    return {Verdict.BASE: PRUNE, Verdict.CHALLENGER: challenger}.get(verdict, verdict.value)


def decide_interval(ratio: Estimate) -> Verdict:
    """The verdict of a ratio between two measured targets, whose interval is an envelope and no t-interval."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return Verdict.INSUFFICIENT_EVIDENCE
    if (ratio.low > 1 or ratio.high < 1) and not 1 / SAME_FACTOR <= ratio.value <= SAME_FACTOR:
        return Verdict.BASE if ratio.low > 1 else Verdict.CHALLENGER
    inside = ratio.low >= 1 / TIE_FACTOR and ratio.high <= TIE_FACTOR
    return Verdict.TIE if inside else Verdict.INSUFFICIENT_EVIDENCE


def ratio_estimate(ratio: LogRatio, decision: Decision) -> Estimate:
    """A ratio with the interval that its verdict was read from."""
    value = None if ratio.mean is None else math.exp(min(ratio.mean, 700.0))
    sd = ratio.sd if ratio.has_interval else None
    return Estimate(value, decision.low, decision.high, sd, ratio.n)


def _settling(found: Judged) -> int | None:
    mean, sd = found.ratio.mean, found.ratio.sd
    if found.verdict is not Verdict.INSUFFICIENT_EVIDENCE or mean is None or sd is None:
        return None
    n = settling_n(mean, sd, found.decision.alpha)
    return None if n is None else max(n, found.ratio.n + 1)


def _cheapest_of_all(found: Cheapest, base: str) -> CheapestOfAll:
    saving = Estimate(1.0, None, None, None, 0)
    if base in found.ratios:
        saving = ratio_estimate(found.ratios[base], found.decisions[base])
    not_beaten = tuple(label for label, one in found.decisions.items() if one.verdict is not Verdict.BASE)
    return CheapestOfAll(found.label, saving, not_beaten, len(found.decisions))


def _by_replicate(values: Floats, here: NDArray[np.bool_]) -> Mapping[int, float]:
    return {int(place): float(values[place]) for place in np.flatnonzero(here)}
