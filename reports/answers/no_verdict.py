"""What a study that lacks a route of the pair says: the accuracies and costs that it has, and no verdict."""

from __future__ import annotations

from accounting.cost.shares import HEADLINE_POLICY, POLICIES
from accounting.words.names import label_text, unit_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.answers.short import within_words
from reports.answers.values import Line
from reports.answers.verdict_words import way_text
from reports.measure.kinds import Alone, KindAt
from reports.words.wording import POLICY_TEXT, number_estimate, percent_interval


def headline(found: Alone) -> str:
    """The first line of such a study's page: test accuracies of its main route at each target."""
    lacking = f"the study has no {' and no '.join(found.missing)} route"
    no_ratio = f"there is no cost ratio in {unit_text(found.unit)}, since {lacking}"
    if not found.main:
        return f"On {found.dataset}, no network has been delivered yet (n = 0), and {no_ratio}."
    accuracies = [f"{_top1(one)} at {macs_text(one.target)} MACs" for one in found.main]
    dense = found.parent_test_top1
    parent = "" if dense.value is None else f"; the dense parent: {percent_interval(dense)}"
    told = f"{', '.join(accuracies)}{parent}"
    way = way_text(found.main[0].label)
    return f"On {found.dataset}, test {task().metric} by {way} (95 % interval): {told}; {no_ratio}."


def short_headline(found: Alone) -> str:
    """The headline in at most 25 words: the main route's accuracy at the largest target, and why there is no more."""
    lacking = f"no {' and no '.join(found.missing)} route"
    if not found.main:
        return within_words(f"No verdict ({lacking}): no network has been delivered yet (n = 0)", [])
    main = found.main[-1]
    said = f"{way_text(main.label)} has test {task().metric} {_top1(main)}"
    return within_words(f"No verdict ({lacking}): {said} at {macs_text(main.target)} MACs", [])


def lines(found: Alone) -> list[Line]:
    """A sentence per target and main route, with accuracy and cost; ``verdict`` is the route, which gives the colour."""
    return [Line(_line(one, found.unit), one.label) for one in found.kinds]


def _line(one: KindAt, unit: str) -> str:
    costs = ", ".join(
        f"{number_estimate(one.cost_h[policy])} {POLICY_TEXT[policy]}"
        for policy in (HEADLINE_POLICY, *(policy for policy in POLICIES if policy != HEADLINE_POLICY))
    )
    at = f"At {macs_text(one.target)} MACs, {label_text(one.label)}"
    return f"{at}: test {task().metric} {_top1(one)}; {unit_text(unit)}: {costs}."


def _top1(one: KindAt) -> str:
    return "not measured (n = 0)" if one.test_top1.value is None else percent_interval(one.test_top1)
