"""The plain alternative to the headline's two: a small network of the family, trained directly."""

from __future__ import annotations

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import FAMILY_CONTROL, METHOD_MARK, label_text, unit_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.data.frames import Frames
from reports.statistics import mean_interval, paired_difference
from reports.words.wording import number_estimate, percent_interval, points_estimate

CONTROL = FAMILY_CONTROL


def control_lines(frames: Frames) -> list[dict[str, str]]:
    """A sentence per target at which the control was delivered: its accuracy and cost, and how the pair differs."""
    lines = []
    pair = [route for label in frames.info.listed_pair if (route := label.partition(METHOD_MARK)[0]) != CONTROL]
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
        lines.append(
            {
                "sentence": f"Control at {macs_text(target)} MACs, the family's network of that size trained directly: "
                f"test {task().metric} {accuracy}, {cost} {unit_text(frames.unit)}"
                + "".join(f"; {text}" for text in apart)
                + ".",
                "verdict": "control",
            }
        )
    return lines


def _test_top1(frames: Frames, label: str, target: int) -> dict[int, float]:
    return {
        network.replicate: network.test_top1
        for network in frames.delivered
        if (network.label, network.target) == (label, target) and network.test_top1 is not None
    }
