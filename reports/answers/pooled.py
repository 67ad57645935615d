"""A challenger compared with pruning over all targets at which their costs can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.cost.shares import HEADLINE_POLICY
from reports.answers.study import JudgedStudy
from reports.compare.rule import Verdict
from reports.compare.values import PooledCosts
from reports.statistics import Estimate


@dataclass(frozen=True)
class Pooled:
    """Pooled costs by charge policy; empty if no target was measured."""

    challenger: str
    by_policy: dict[str, PooledCosts]

    @property
    def ratios(self) -> dict[str, Estimate]:
        """Cost ratios (challenger / prune) by charge policy."""
        return {policy: costs.cost_ratio for policy, costs in self.by_policy.items()}

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict under each policy."""
        return {policy: costs.verdict for policy, costs in self.by_policy.items()}

    @property
    def headline(self) -> PooledCosts | None:
        """The costs under the headline policy."""
        return self.by_policy.get(HEADLINE_POLICY)


def pooled_headline(study: JudgedStudy) -> Pooled:
    """The headline's challenger compared with pruning."""
    return Pooled(study.challenger, study.verdicts.pooled.get(study.challenger, {}))


def pooled_further(study: JudgedStudy) -> list[Pooled]:
    """The other contenders, each over the targets at which it can be compared with pruning."""
    return [Pooled(label, found) for label, found in study.verdicts.pooled.items() if label != study.challenger]
