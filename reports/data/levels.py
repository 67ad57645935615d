"""Accuracies that say little: at chance level, where a network has learned nothing, and at the ceiling.

The study's task says what chance is: for classification, one over the number of classes, as if all were equally
frequent. A network is called at chance if its accuracy is at most two points above chance, or if the 95 % interval over
at least three replicates contains chance; an interval over two contains nearly everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from accounting.cost.values import CostView
from accounting.ledger.specs import JobSpec
from accounting.words.names import is_method, label_rank
from accounting.words.task import task
from reports.data.networks import Network
from reports.statistics import Estimate, mean_interval

NEAR = 0.02
"""An accuracy at most this far above chance counts as chance."""
LEAST_REPLICATES = 3
"""Fewest replicates for an interval to say something about chance."""


class Level(StrEnum):
    """A level at which an accuracy says little."""

    CHANCE = "chance"
    CEILING = "ceiling"


@dataclass(frozen=True)
class AtLevel:
    """Networks of one kind and target whose mean test accuracy is at a level."""

    level: Level
    label: str
    target: int
    test_top1: Estimate


def num_classes(said: int | None, view: CostView) -> int | None:
    """The number of classes of a study's data: from ``study.yaml``, else from the trained networks; None if unknown."""
    if said is not None:
        return said
    found = {_classes_of(attempt.spec) for attempt in view.attempts} - {None}
    return found.pop() if len(found) == 1 else None


def level_of(value: float | Estimate | None, classes: int | None) -> Level | None:
    """The level that an accuracy is at, if any; never chance if the number of classes is unknown."""
    estimate = value if isinstance(value, Estimate) else Estimate(value, None, None, None, int(value is not None))
    if estimate.value is None:
        return None
    if estimate.value >= task().ceiling:
        return Level.CEILING
    if classes is None:
        return None
    chance = task().chance(classes)
    low, high = estimate.low, estimate.high
    holds = estimate.n >= LEAST_REPLICATES and low is not None and high is not None and low <= chance <= high
    return Level.CHANCE if holds or estimate.value <= chance + NEAR + 1e-9 else None


def networks_at_levels(delivered: Sequence[Network], classes: int | None) -> tuple[AtLevel, ...]:
    """The kinds of delivered network at chance or at the ceiling, by target; single methods have a table of their own."""
    values: dict[tuple[int, str], list[float]] = {}
    for network in delivered:
        if network.test_top1 is not None and not is_method(network.label):
            values.setdefault((network.target, network.label), []).append(network.test_top1)
    found = []
    for (target, label), each in sorted(values.items(), key=lambda item: (item[0][0], label_rank(item[0][1]))):
        estimate = mean_interval(each, at_least=0.0, at_most=1.0)
        level = level_of(estimate, classes)
        if level is not None:
            found.append(AtLevel(level, label, target, estimate))
    return tuple(found)


def _classes_of(spec: JobSpec) -> int | None:
    network = spec.get("network")
    if not isinstance(network, dict):
        return None
    kwargs = network.get("kwargs")
    said = network.get("num_classes", kwargs.get("num_classes") if isinstance(kwargs, dict) else None)
    return said if _is_count(said) else None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 2
