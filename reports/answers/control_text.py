"""The plain alternative to the headline's two, in words: a small network of the family, trained directly."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import label_text, unit_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.answers.values import Line
from reports.measure.kinds import ControlAt
from reports.words.wording import number_estimate, percent_interval, points_estimate


def control_lines(found: Sequence[ControlAt], unit: str) -> list[Line]:
    """A sentence per target: the control's accuracy and cost, and how the pair differs from it."""
    return [Line(_sentence(one, unit), "control") for one in found]


def _sentence(found: ControlAt, unit: str) -> str:
    control = found.control
    cost = number_estimate(control.cost_h[HEADLINE_POLICY])
    said = [f"test {task().metric} {percent_interval(control.test_top1)}, {cost} {unit_text(unit)}"]
    said += [f"{label_text(route)} − control {points_estimate(apart)}" for route, apart in found.apart.items()]
    at = f"Control at {macs_text(control.target)} MACs, the family's network of that size trained directly"
    return f"{at}: {'; '.join(said)}."
