"""Answers as sentences, each with a number, its interval or n, and its unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accounting.cost.equivalence import rates_texts
from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import PRUNE, SEARCH, label_text, unit_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.answers.pays_text import declared_sentence
from reports.answers.pooled import Pooled
from reports.answers.refusal_text import refusal_sentence
from reports.answers.short import inverse
from reports.answers.values import Answer, Comparison, Interpolated, Measured, Question, Refused
from reports.answers.verdict_words import (
    Costs,
    cheapest_claim,
    cheapest_text,
    flips,
    interval_text,
    provisional_text,
    reached_by_both,
    verdict_text,
    way_text,
    whole_verdict_text,
)
from reports.compare.rule import Verdict
from reports.compare.values import CostComparison
from reports.sentences.growth import changes_sentences
from reports.sentences.standing import standing_sentences
from reports.statistics import Estimate
from reports.words.wording import (
    POLICY_TEXT,
    SAYS_NOTHING,
    ends_clause,
    number,
    percent,
    points_estimate,
    ratio_says_nothing,
)


def sentence(given: Answer) -> str:
    """The answer as one sentence."""
    if isinstance(given, Refused):
        return refusal_sentence(given)
    return comparison_sentence(given.headline, given)


def comparison_sentence(compared: Comparison, given: Answer) -> str:
    """The sentence that compares one challenger with pruning at the target of an answer."""
    difference = points_estimate(compared.difference)
    few = provisional_text(compared.n, given.question.replicates)
    clause = _costs_clause(compared.challenger, compared.by_policy, given.question.unit, few)
    best = "" if isinstance(given, Refused) or compared is not given.headline else _cheapest_clause(given)
    return (
        f"{_at(given)}, {clause}{best}; prune − {label_text(compared.challenger)} test {task().quality}: {difference}."
    )


def notes(given: Answer) -> list[str]:
    """What to keep in mind when reading an answer."""
    question = given.question
    said = standing_sentences(question.standing)
    said += [] if question.declared is None else [declared_sentence(question.declared)]
    said += rates_texts(question.equivalence, question.moved)
    return [*_notes(given), *said, *changes_sentences(question.growth, question.extensions)]


def _notes(given: Answer) -> list[str]:
    if isinstance(given, Interpolated):
        ends = (macs_text(end.question.target) for end in (given.low, given.high))
        first = (
            f"interpolated between {' and '.join(ends)} MACs, linear in log MACs; nothing was trained at this target"
        )
        return [first, *dict.fromkeys([*_few_notes(given.low), *_few_notes(given.high)])]
    if not isinstance(given, Measured):
        return []
    level = given.headline.headline.alpha
    looks = given.question.num_looks
    corrected = f"corrected for {looks} look{'' if looks == 1 else 's'} and for several targets: level {level:.4g}"
    return [*_few_notes(given), *([corrected] if looks else [])]


def _few_notes(given: Measured) -> list[str]:
    n, planned = given.headline.n, given.question.replicates
    few = [f"provisional: {n} of {planned} planned replicates are done"] if n < planned else []
    return [*few, *(["one replicate gives no interval, so no verdict"] if n < 2 else [])]


def accuracy_sentence(given: Measured) -> str:
    """The sentence on accuracy (RQ1) at a target."""
    name = label_text(given.headline.challenger)
    other = f"the one found by {name}" if given.headline.challenger == SEARCH else f"that of {name}"
    reading = {
        Verdict.BASE: f"the pruned network is {task().better} than {other}",
        Verdict.CHALLENGER: f"{other.replace('the one', 'the network', 1)} is {task().better} than the pruned one",
    }.get(
        given.headline.more_accurate,
        f"neither the pruned network nor {other} is shown to be {task().better}",
    )
    difference = points_estimate(given.headline.difference)
    at = f"At {macs_text(given.question.target)} MACs"
    return f"{at} {reading}: prune − {name} = {difference} of test {task().metric}."


def overall_sentence(pooled: Pooled, question: Question, answers: Sequence[Answer] = ()) -> str:
    """The sentence on one challenger over all measured targets; with ``answers``, also on the cheapest contender of all."""
    unit, costs = question.unit, pooled.headline
    if costs is None:
        return (
            f"No answer yet: no target has networks from both routes (n = 0), so there is no cost ratio in "
            f"{unit_text(unit)} on {question.dataset}."
        )
    few = provisional_text(costs.n, question.replicates)
    clause = _costs_clause(pooled.challenger, pooled.by_policy, unit, few)
    who = f"{label_text(pooled.challenger)} against pruning: " if costs.guarded is not None and not answers else ""
    return f"On {question.dataset}{_over(costs.num_targets, question)}, {who}{clause}{_cheapest_overall(answers)}."


def _at(given: Answer) -> str:
    if not isinstance(given, Interpolated):
        return f"At {macs_text(given.question.target)} MACs"
    error = given.left_out_error
    miss = (
        "how far that is off is not known" if error is None else f"which misses measured ratios by up to {error:.2f}×"
    )
    return f"At {macs_text(given.question.target)} MACs (interpolated, {miss}; nothing was trained at this target)"


def _over(num_targets: int, question: Question) -> str:
    """The targets over which a pooled comparison goes, and of how many; empty if there is none."""
    if not num_targets:
        return ""
    whole = max(num_targets, len(question.targets))
    count = f"{num_targets}" if num_targets == whole else f"{num_targets} of {whole}"
    return f", {count} target{'' if whole == 1 else 's'}{' pooled' if num_targets > 1 else ''}"


def _costs_clause(challenger: str, costs: Mapping[str, Costs], unit: str, few: str) -> str:
    """The ratio and verdict under the headline policy, and the policies under which the answer differs."""
    main = costs[HEADLINE_POLICY]
    said = whole_verdict_text(main, challenger)
    is_ratio_said = main.guarded is None
    ratio = f"{_ratio_clause(main, unit, challenger)}: " if is_ratio_said else ""
    return f"{POLICY_TEXT[HEADLINE_POLICY]}, {ratio}{said}{few}{_flips_clause(costs, challenger)}"


def _ratio_clause(costs: Costs, unit: str, challenger: str) -> str:
    """A cost ratio (challenger / prune) in words, with its interval or n and the unit."""
    ratio = costs.cost_ratio
    if ratio.value is None:
        return f"there is no cost ratio in {unit_text(unit)} (a route was charged nothing, or measured nothing)"
    name = label_text(challenger)
    is_prune_cheaper = ratio.value >= 1
    cheap, dear = (way_text(PRUNE), name) if is_prune_cheaper else (name, way_text(PRUNE))
    turned = ratio if is_prune_cheaper else inverse(ratio)
    if turned.low is None or turned.high is None:
        evidence = f"n = {ratio.n} replicate{'' if ratio.n == 1 else 's'}, so no interval{_ends(turned)}"
    else:
        wide = f", {SAYS_NOTHING}" if ratio_says_nothing(turned.low, turned.high) else ""
        bounds = f"{interval_text(costs.alpha)} {number(turned.low)} to {number(turned.high)}{wide}"
        evidence = f"{bounds}, n = {ratio.n} replicates{_reached_clause(costs)}{_ends(turned)}"
    level = costs.level if isinstance(costs, CostComparison) else None
    goal = f"the same {task().quality}" if level is None else f"{percent(level)} on validation"
    return f"{dear} took {number(turned.value)}× the {unit_text(unit)} of {cheap} to reach {goal} ({evidence})"


def _ends(ratio: Estimate) -> str:
    """How far a ratio and its intervals go at the ends of declared rates of GPU models; empty if these do not move it."""
    ends = ratio.ends
    if ends is None or ends.interval_low is None or ends.interval_high is None:
        return ends_clause(ends)
    return f"{ends_clause(ends)}, with intervals from {number(ends.interval_low)} to {number(ends.interval_high)}"


def _reached_clause(costs: Costs) -> str:
    """In how many replicates the accuracy was reached, for contenders that did not reach it in all."""
    if not isinstance(costs, CostComparison):
        return ""
    short = [
        f"{label_text(label)} reached it in {count} of {costs.num_entered[label]}"
        for label, count in costs.num_reached.items()
        if count < costs.num_entered[label]
    ]
    return f"; {', '.join(short)}" if short else ""


def _flips_clause(costs: Mapping[str, Costs], challenger: str) -> str:
    """The policies under which the answer differs, with their ratios; empty if there are none."""
    if costs[HEADLINE_POLICY].guarded is not None:
        return ""
    name = label_text(challenger)
    same, others = [], []
    for policy in flips(costs, HEADLINE_POLICY):
        ratio = f"({name} / prune = {number(costs[policy].cost_ratio.value)})"
        if costs[policy].verdict == costs[HEADLINE_POLICY].verdict:
            same.append(f"{POLICY_TEXT[policy]} {ratio}")
        else:
            others.append(f"{POLICY_TEXT[policy]}, {verdict_text(costs[policy], challenger)} {ratio}")
    likewise = f"; likewise {' and '.join(same)}" if same else ""
    return likewise + (f"; but {' and '.join(others)}" if others else "")


def _cheapest_clause(given: Measured | Interpolated) -> str:
    """The cheapest contender of all; between two targets, what it is at these."""
    if isinstance(given, Interpolated):
        ends = given.low, given.high
        is_known = all(end.cheapest.get(HEADLINE_POLICY) is not None for end in ends)
        said = _cheapest_overall(ends).removeprefix("; ") if is_known else ""
        return f"; where it was measured, {said}" if said else ""
    best = given.cheapest.get(HEADLINE_POLICY)
    is_reached = reached_by_both(given.headline.headline)
    clause = cheapest_text(best, 2 + len(given.further), is_reached_by_pair=is_reached)
    return f"; {clause}" if clause else ""


def _cheapest_overall(answers: Sequence[Answer]) -> str:
    """The cheapest contender at each target; a single name if it is the same everywhere."""
    found = {
        given.question.target: best
        for given in answers
        if isinstance(given, Measured) and given.further and (best := given.cheapest.get(HEADLINE_POLICY)) is not None
    }
    if not found:
        return ""
    sure = cheapest_claim(list(found.values()))
    if len({best.label for best in found.values()}) == 1:
        return f"; {sure}: {label_text(next(iter(found.values())).label)}"
    each = ", ".join(f"{label_text(best.label)} at {macs_text(target)}" for target, best in found.items())
    return f"; {sure}: {each}"
