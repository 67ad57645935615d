"""The answer in at most 25 words: the first line of the page, and what people quote.

It has a number with interval and unit, says whether the evidence is complete, and names the cheapest contender of all.
"""

from __future__ import annotations

from collections.abc import Sequence

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import PRUNE, label_text, unit_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.answers.pooled import Pooled
from reports.answers.values import Answer, Measured
from reports.answers.verdict_words import cheapest_claim, way_text
from reports.compare.guards import Guarded, Obstacle
from reports.compare.rule import SHOWN, Verdict
from reports.compare.values import PooledCosts
from reports.statistics import Ends, Estimate
from reports.words.wording import number, percent

MOST_WORDS = 25


def short_headline(pooled: Pooled, unit: str, answers: Sequence[Answer]) -> str:
    """The whole study in one sentence, under the headline policy."""
    costs = pooled.headline
    measured = [given for given in answers if isinstance(given, Measured)]
    if costs is None or not measured:
        return "No answer yet: no target has networks of both routes (n = 0)."
    planned = answers[0].question.replicates
    n = costs.cost_ratio.n if costs.guarded is None else min(given.headline.n for given in measured)
    unit_name, named = unit_text(unit), _cheapest(measured)
    claims = [_claim(costs, pooled.challenger, unit_name, f"the {unit_name} of {{}}", measured)]
    starts = [""]
    if n < planned:
        claims.append(_claim(costs, pooled.challenger, unit_name, f"{{}}'s {unit_name}", measured))
        starts = [f"Provisional ({n} of {planned} replicates): ", f"Provisional ({n} of {planned}): ", "Provisional, "]
    forms = [f"{start}{claim}" if start else _capital(claim) for start in starts for claim in claims]
    is_said = costs.verdict is Verdict.NEITHER and all(
        name.endswith(f": {way_text(costs.instead[0])}") for name in named
    )
    return first_that_fits(forms, [] if is_said else named)


def first_that_fits(claims: Sequence[str], parts: Sequence[str], most: int = MOST_WORDS) -> str:
    """The first claim with room for one of the parts, taking the earliest part that fits; otherwise the first claim."""
    found = (
        f"{claim}; {part}." for claim in claims for part in parts if len(f"{claim}; {part}".split()) <= most
    )  # fmt: skip
    return next(found, within_words(claims[0], [], most))


def within_words(claim: str, optional: Sequence[str], most: int = MOST_WORDS) -> str:
    """The claim with as many of the optional parts as fit, and a full stop."""
    for part in optional:
        if part and len(f"{claim}; {part}".split()) <= most:
            claim = f"{claim}; {part}"
    words = claim.split()
    return f"{claim}." if len(words) <= most else f"{' '.join(words[: most - 1])} …"


def _claim(costs: PooledCosts, challenger: str, unit: str, hours_of: str, measured: Sequence[Measured]) -> str:
    """The claim about costs. ``hours_of`` is the phrase for a route's device-hours, in which it replaces ``{}``."""
    if costs.verdict is Verdict.NEITHER:
        return _neither(costs, unit, measured)
    if costs.guarded is not None:
        return _guarded(costs.guarded, challenger, measured)
    ratio = costs.cost_ratio
    if ratio.value is None:
        return f"there is no cost ratio: a route was charged no {unit}"
    is_prune_cheaper = ratio.value >= 1
    cheap, dear = map(way_text, (PRUNE, challenger) if is_prune_cheaper else (challenger, PRUNE))
    turned = ratio if is_prune_cheaper else inverse(ratio)
    times, hours, evidence = f"{number(turned.value)}×", hours_of.format(cheap), _evidence(turned, costs.alpha)
    took = f"{dear} cost {times} {hours} at equal {task().quality} {evidence}"
    if costs.verdict in SHOWN:
        return took
    return f"{'a tie' if costs.verdict is Verdict.TIE else 'not settled'}: {took}"


def _neither(costs: PooledCosts, unit: str, measured: Sequence[Measured]) -> str:
    """The claim that a control makes both unnecessary, with its smallest saving."""
    label = costs.instead[0]
    found = [one for given in measured for one in given.headline.headline.instead if one.label == label]
    sure = [one.base_ratio for one in found if one.base_ratio.value is not None]
    name, bests = label_text(label), [given.cheapest.get(HEADLINE_POLICY) for given in measured]
    is_best = all(best is not None and best.is_shown and best.label == label for best in bests)
    if not sure:
        return f"neither: {name} is {task().as_good} and cheaper"
    least = min(sure, key=lambda ratio: ratio.value or 0.0)
    at_least = "at least " if len(sure) > 1 else ""
    return (
        f"neither: {name} is {task().as_good}{' and cheapest' if is_best else ''}; "
        f"pruning costs {at_least}{number(least.value)}× its {unit} "
        f"{_evidence(least)}"
    )


def _guarded(guarded: Guarded, challenger: str, measured: Sequence[Measured]) -> str:
    who = way_text(PRUNE if guarded.place == 0 else challenger)
    if guarded.obstacle is Obstacle.NOT_REACHED:
        times = f"{guarded.found:.0f} replicate{'' if guarded.found == 1 else 's'}"
        return f"not reached: {who} reached the common {task().quality} in {times}, {guarded.limit:.0f} are needed"
    if guarded.obstacle is Obstacle.APART:
        difference = measured[0].headline.difference
        better = way_text(PRUNE if guarded.found > 0 else challenger)
        apart = difference if guarded.found > 0 else _negated(difference)
        on_test = f"{100 * (apart.value or 0.0):.1f} points {_points_evidence(apart)} on test"
        on_validation = f"{100 * abs(guarded.found):.1f} points (median) on validation"
        by = on_test if (apart.value or 0.0) > 0 else on_validation
        return f"costs not comparable: {better} is ahead by {by} at {_target(measured[0])} MACs"
    reason = {
        Obstacle.CHANCE: f"{percent(guarded.found)} is near {task().guessing}",
        Obstacle.SPREAD: f"{who}'s {task().qualities} are {100 * guarded.found:.1f} points apart between replicates",
        Obstacle.BELOW_CONTROL: f"{percent(guarded.found)} is over 3 points below the cheapest control",
        Obstacle.RATE: f"by the GPU models' declared rate the ratio is {number(guarded.found)}× to {number(guarded.limit)}×",
    }[guarded.obstacle]
    return f"costs not comparable: {reason}"


def _cheapest(measured: Sequence[Measured]) -> list[str]:
    """Phrases that name the cheapest contender, ever shorter; if none is shown to be, the one with the lowest cost."""
    found = [(given, best) for given in measured if (best := given.cheapest.get(HEADLINE_POLICY)) is not None]
    if not found or max(best.num_others for _, best in found) < 1:
        return []
    sure = cheapest_claim([best for _, best in found])
    labels = list(dict.fromkeys(best.label for _, best in found))
    if len(labels) == 1:
        return [f"{sure}: {way_text(labels[0])}"]
    each = ", ".join(f"{way_text(best.label)} at {_target(given)}" for given, best in found)
    return [f"{sure}: {each}", f"{sure}: {' or '.join(map(way_text, labels))}"]


def _target(given: Measured) -> str:
    return macs_text(given.question.target)


def _evidence(ratio: Estimate, alpha: float | None = None) -> str:
    """The interval in words: with its level if that is the same for all statements, otherwise as corrected."""
    if ratio.low is None or ratio.high is None:
        return f"(n = {ratio.n}, no interval)"
    level = "adjusted" if alpha is None else f"{100 * (1 - alpha):.4g} %"
    return f"({level} interval {number(ratio.low)}–{number(ratio.high)})"


def _points_evidence(apart: Estimate) -> str:
    if apart.low is None or apart.high is None:
        return f"(n = {apart.n}, no interval)"
    return f"({100 * apart.low:.1f} to {100 * apart.high:.1f})"


def _negated(value: Estimate) -> Estimate:
    turned, low, high = (None if end is None else -end for end in (value.value, value.high, value.low))
    return Estimate(turned, low, high, value.sd, value.n)


def inverse(ratio: Estimate) -> Estimate:
    """The inverse ratio."""
    value, low, high = (None if x is None else 1 / x for x in (ratio.value, ratio.high, ratio.low))
    return Estimate(value, low, high, ratio.sd, ratio.n, None if ratio.ends is None else _inverse_ends(ratio.ends))


def _inverse_ends(ends: Ends) -> Ends:
    low, high = (None if x is None else 1 / x for x in (ends.interval_high, ends.interval_low))
    return Ends(1 / ends.high, 1 / ends.low, low, high)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
