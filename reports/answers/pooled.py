"""One challenger against pruning over all measured targets of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accounting.cost.shares import HEADLINE_POLICY, POLICIES
from reports.answers.values import Answer, Comparison, Measured
from reports.compare.verdict import HEADLINE_CHALLENGER, Verdict, decide, pool_targets
from reports.statistics import Estimate


@dataclass(frozen=True)
class Pooled:
    """Cost ratios (challenger / prune) by charge policy, and over how many targets each is; 0 where none is measured."""

    challenger: str
    ratios: dict[str, Estimate]
    num_targets: dict[str, int]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of each policy."""
        return {policy: decide(ratio) for policy, ratio in self.ratios.items()}

    @property
    def num_headline_targets(self) -> int:
        """Targets under the headline policy."""
        return self.num_targets[HEADLINE_POLICY]


def pooled_headline(answers: Sequence[Answer]) -> Pooled:
    """Search against pruning over the measured targets."""
    return _pooled(HEADLINE_CHALLENGER, [given.headline for given in answers if isinstance(given, Measured)])


def pooled_further(answers: Sequence[Answer]) -> list[Pooled]:
    """The other challengers, each over the targets at which it can be compared with pruning."""
    found = []
    for route in dict.fromkeys(further.challenger for given in answers for further in given.further):
        compared = [further for given in answers for further in given.further if further.challenger == route]
        if compared:
            found.append(_pooled(route, compared))
    return found


def _pooled(challenger: str, compared: Sequence[Comparison]) -> Pooled:
    ratios, counts = {}, {}
    for policy in POLICIES:
        costs = [comparison.by_policy[policy] for comparison in compared]
        ratios[policy] = pool_targets(costs)
        counts[policy] = sum(bool(of_target.ratio_of) for of_target in costs) or len(costs)
    return Pooled(challenger, ratios, counts)
