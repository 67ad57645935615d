"""The plain alternative to the headline's two, in words: a small network of the family, trained directly."""

from __future__ import annotations

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import FAMILY_CONTROL, label_text, unit_text, without_method
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.answers.values import Line
from reports.data.frames import Frames
from reports.statistics import mean_interval, paired_difference
from reports.words.wording import number_estimate, percent_interval, points_estimate

CONTROL = FAMILY_CONTROL


def control_lines(frames: Frames) -> list[Line]:
    """A sentence per target at which the control was delivered: its accuracy and cost, and how the pair differs."""
    lines = []
    pair = [route for label in frames.info.listed_pair if (route := without_method(label)) != CONTROL]
    for target in frames.info.targets:
        top1 = {label: _test_top1(frames, label, target) for label in (CONTROL, *pair)}
        if not top1[CONTROL]:
            continue
        costs = [n.cost_h[HEADLINE_POLICY] for n in frames.delivered if (n.label, n.target) == (CONTROL, target)]
        apart = [
            f"{label_text(route)} − control {points_estimate(paired_difference(top1[route], top1[CONTROL]))}"
            for route in pair
            if top1[route].keys() & top1[CONTROL].keys()
        ]
        accuracy = percent_interval(mean_interval(list(top1[CONTROL].values()), at_least=0.0, at_most=1.0))
        cost = number_estimate(mean_interval(costs, at_least=0.0))
        said = [f"test {task().metric} {accuracy}, {cost} {unit_text(frames.unit)}", *apart]
        at = f"Control at {macs_text(target)} MACs, the family's network of that size trained directly"
        lines.append(Line(f"{at}: {'; '.join(said)}.", "control"))
    return lines


def _test_top1(frames: Frames, label: str, target: int) -> dict[int, float]:
    return {
        network.replicate: network.test_top1
        for network in frames.delivered
        if (network.label, network.target) == (label, target) and network.test_top1 is not None
    }
