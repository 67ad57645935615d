"""Which networks are more accurate (RQ1): accuracies by label, and differences between contenders."""

from __future__ import annotations

from collections.abc import Iterable

from reports.compare.contenders import Contender, Contenders
from reports.compare.rule import Verdict
from reports.data.networks import Network
from reports.statistics import Estimate, mean_interval, paired_difference


def decide_accuracy(difference: Estimate) -> Verdict:
    """Which contender is shown to be more accurate by a difference (prune - challenger) and its interval."""
    if difference.low is None or difference.high is None:
        return Verdict.INSUFFICIENT_EVIDENCE
    if difference.low > 0:
        return Verdict.BASE
    return Verdict.CHALLENGER if difference.high < 0 else Verdict.INSUFFICIENT_EVIDENCE


def accuracies(networks: Iterable[Network], target: int) -> dict[str, tuple[Estimate, Estimate]]:
    """Test and validation accuracy of the networks delivered for a target, by label."""
    mine = [network for network in networks if network.target == target]
    found = {}
    for label in sorted({network.label for network in mine}):
        of_label = [network for network in mine if network.label == label]
        test, val = ([n.test_top1 for n in of_label], [n.val_top1 for n in of_label])
        found[label] = _mean(test), _mean(val)
    return found


def test_difference(contenders: Contenders, first: Contender, second: Contender, target: int) -> Estimate:
    """Test accuracy of the first contender's networks minus the second's, paired by replicate."""
    sides = [
        {r: n.test_top1 for r, n in contenders.delivered(one, target).items() if n.test_top1 is not None}
        for one in (first, second)
    ]
    return paired_difference(sides[0], sides[1])


def _mean(values: Iterable[float | None]) -> Estimate:
    return mean_interval([value for value in values if value is not None])
