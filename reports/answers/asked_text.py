"""Answers about an accuracy, a budget or other terms, as sentences."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.words.names import label_text, unit_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.answers.asked_values import AskedAnswer, AskedBetween, AskedRefused, WayCost
from reports.answers.refusal_text import refusal_sentence
from reports.answers.verdict_words import provisional_text, ratio_text, whole_verdict_text
from reports.answers.within_budget import BudgetAnswer, WayWithin
from reports.compare.charges import Terms
from reports.compare.values import CheapestOfAll
from reports.words.wording import AT_ENDS, number, number_estimate, percent, percent_interval

SAME = 1e-9
"""Costs that differ by less than this share are the same but for rounding."""


def reply_sentence(given: AskedAnswer | AskedBetween | BudgetAnswer | AskedRefused) -> str:
    """Any such reply as a sentence."""
    if isinstance(given, AskedRefused):
        return refusal_sentence(given)
    return _budget(given) if isinstance(given, BudgetAnswer) else _asked(given)


def terms_text(terms: Terms, unit: str) -> str:
    """``if the parent is free and 5 such targets share what is common``; otherwise the words for the headline policy."""
    parts = []
    if terms.parent_h is not None:
        parts.append(
            "the parent is free"
            if terms.parent_h == 0
            else f"the parent costs {number(terms.parent_h)} {unit_text(unit)}"
        )
    if terms.targets_served != 1:
        parts.append(f"{terms.targets_served:g} such targets share what is common")
    return f"if {' and '.join(parts)}" if parts else "all work charged"


def _at(given: AskedAnswer | AskedBetween) -> str:
    at = f"At {macs_text(given.question.target)} MACs"
    if isinstance(given, AskedAnswer):
        return at
    error = given.left_out_error
    miss = "how far that is off is not known" if error is None else f"which misses measured costs by up to {error:.2f}×"
    return f"{at} (interpolated, {miss}; nothing was trained at this target)"


def _asked(given: AskedAnswer | AskedBetween) -> str:
    unit = given.question.unit
    first, *others = [way for way in given.ways if way.is_reached]
    is_least = all((way.cost.value or 0.0) >= (1 - SAME) * (first.cost.value or 0.0) for way in others)
    by_ratios = "" if is_least else ", the least by mean ratios within replicates"
    said = [
        f"{_at(given)}, {terms_text(given.asked.terms, unit)}, {percent(given.level)} on "
        f"validation costs least by {label_text(first.label)}: {_cost(first, unit)}{by_ratios}"
    ]
    if others:
        said.append("; then " + ", ".join(f"{label_text(way.label)} {_cost(way)}" for way in others))
    if short := [way for way in given.ways if not way.is_reached and way.num_entered]:
        reached = ", ".join(f"{label_text(way.label)} ({way.num_reached} of {way.num_entered})" for way in short)
        said.append(f"; not reached by {reached}")
    said.append(_not_done([way.label for way in given.ways if not way.num_entered]))
    best = given.cheapest
    if best is not None and best.label == first.label and others:
        said.append(f"; {_cheapest(best)}")
    return f"{''.join(said)}{_verdict(given)}."


def _cheapest(best: CheapestOfAll) -> str:
    """The clause about the cheapest contender, worded by how certain that is."""
    if best.is_shown:
        return "shown to be the cheapest"
    if best.num_others > 1 and len(best.not_beaten) == best.num_others:
        return "not shown to be cheaper than any of them"
    return f"not shown to be cheaper than {', '.join(map(label_text, best.not_beaten))}"


def _verdict(given: AskedAnswer | AskedBetween) -> str:
    costs = given.headline
    if costs is None:
        return ""
    name = label_text(costs.challenger)
    few = provisional_text(min(costs.num_entered.values()), given.question.replicates)
    said = f"{whole_verdict_text(costs, costs.challenger)}{few}"
    if costs.guarded is not None or costs.cost_ratio.value is None:
        return f"; {name} and prune: {said}"
    return f"; {name} / prune = {ratio_text(costs.cost_ratio, costs.alpha)}: {said}"


def _cost(way: WayCost, unit: str = "") -> str:
    short = "" if way.num_reached == way.num_entered else f", reached in {way.num_reached} of {way.num_entered}"
    return number_estimate(way.cost, f" {unit_text(unit)}" if unit else "") + short


def _not_done(labels: Sequence[str]) -> str:
    """The clause about contenders of which nothing can be said yet."""
    return f"; not done in any replicate yet: {', '.join(map(label_text, labels))}" if labels else ""


def _budget(given: BudgetAnswer) -> str:
    unit = unit_text(given.question.unit)
    first, *others = [way for way in given.ways if way.val_top1.n]
    said = [
        f"At {macs_text(given.question.target)} MACs, {number(given.budget_h)} {unit} give most by "
        f"{label_text(first.label)}: {percent_interval(first.val_top1)} on validation{_ended(first)}"
    ]
    if others:
        each = ", ".join(f"{label_text(way.label)} {percent_interval(way.val_top1)}{_ended(way)}" for way in others)
        shown = ", ".join(map(label_text, given.not_shown))
        said.append(f"; then {each}")
        said.append(f"; not shown to be {task().better} than {shown}" if shown else f"; shown to be the {task().best}")
    if none := [label_text(way.label) for way in given.ways if not way.val_top1.n and way.num_entered]:
        said.append(f"; no network by then: {', '.join(none)}")
    said.append(_not_done([way.label for way in given.ways if not way.num_entered]))
    return f"{''.join(said)}."


def _ended(way: WayWithin) -> str:
    few = (
        "" if way.val_top1.n == way.num_entered else f" (a network in {way.val_top1.n} of {way.num_entered} replicates)"
    )
    if way.ended_h is None:
        return few
    ends = way.ended_h.ends
    at_ends = "" if ends is None else f" ({number(ends.low)} to {number(ends.high)} {AT_ENDS})"
    return f"{few}, ended after {number(way.ended_h.value)}{at_ends}"
