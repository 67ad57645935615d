"""Answers as sentences: each has its number, its interval or n, and its unit."""

from __future__ import annotations

from collections.abc import Mapping

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import label_text, unit_text
from accounting.words.quantities import macs_text
from reports.answers.pooled import Pooled
from reports.answers.values import Answer, Comparison, Interpolated, Measured, Question, Refused
from reports.compare.verdict import TIE_FACTOR, Verdict
from reports.statistics import Estimate
from reports.words.wording import POLICY_TEXT, SAYS_NOTHING, number, points_estimate, ratio_says_nothing


def sentence(given: Answer) -> str:
    """The answer as one sentence."""
    if isinstance(given, Refused):
        how = "" if given.change is None else f"; to measure it: {' and '.join(given.change.splitlines())}"
        return f"At {macs_text(given.question.target)} MACs: no answer: {given.reason}{how}"
    return comparison_sentence(given.headline, given)


def comparison_sentence(compared: Comparison, given: Answer) -> str:
    """How one challenger compares with pruning at the target of an answer."""
    difference = points_estimate(compared.difference)
    verdicts = {policy: costs.verdict for policy, costs in compared.by_policy.items()}
    clause = _costs_clause(compared.challenger, compared.ratios, verdicts, given.question.unit)
    return f"{_at(given)}, {clause}; prune − {label_text(compared.challenger)} test accuracy: {difference}."


def notes(given: Answer) -> list[str]:
    """What to keep in mind when reading an answer."""
    extended = given.question.extended
    return [*_notes(given), *([extended] if extended is not None else [])]


def _notes(given: Answer) -> list[str]:
    if isinstance(given, Interpolated):
        ends = (macs_text(end.question.target) for end in (given.low, given.high))
        first = (
            f"interpolated between {' and '.join(ends)} MACs, linear in log MACs; nothing was trained at this target"
        )
        return [first, *dict.fromkeys([*given.low.notes, *given.high.notes])]
    return list(given.notes) if isinstance(given, Measured) else []


def accuracy_sentence(given: Measured) -> str:
    """How the accuracy side of the question, RQ1, reads for a target."""
    reading = {
        Verdict.PRUNE: "the pruned network is more accurate than the one found by search",
        Verdict.CHALLENGER: "the network found by search is more accurate than the pruned one",
    }.get(
        given.headline.more_accurate,
        "neither the pruned network nor the one found by search is shown to be more accurate",
    )
    difference = points_estimate(given.headline.difference)
    return f"At {macs_text(given.question.target)} MACs {reading}: prune − search = {difference} of test top-1."


def overall_sentence(pooled: Pooled, question: Question) -> str:
    """One challenger against pruning over all measured targets of the study that the question is about."""
    unit, num_targets = question.unit, pooled.num_headline_targets
    if num_targets == 0:
        return (
            f"No answer yet: no target has networks from both routes (n = 0), so there is no cost ratio in "
            f"{unit_text(unit)} on {question.dataset}."
        )
    over = "1 target" if num_targets == 1 else f"{num_targets} targets pooled"
    return f"On {question.dataset}, {over}, {_costs_clause(pooled.challenger, pooled.ratios, pooled.verdicts, unit)}."


def verdict_text(verdict: Verdict, challenger: str) -> str:
    """The verdict in words."""
    return {
        Verdict.PRUNE: "pruning is cheaper",
        Verdict.CHALLENGER: f"{label_text(challenger)} is cheaper",
        Verdict.TIE: f"a tie (within a factor of {TIE_FACTOR})",
        Verdict.INSUFFICIENT_EVIDENCE: "insufficient evidence for which is cheaper",
    }[verdict]


def _at(given: Answer) -> str:
    label = " (interpolated, nothing was trained at this target)" if isinstance(given, Interpolated) else ""
    return f"At {macs_text(given.question.target)} MACs{label}"


def _costs_clause(challenger: str, ratios: Mapping[str, Estimate], verdicts: Mapping[str, Verdict], unit: str) -> str:
    """The ratio and verdict of the headline policy, and the policies under which the verdict is another one."""
    return (
        f"{POLICY_TEXT[HEADLINE_POLICY]}, {_ratio_clause(ratios[HEADLINE_POLICY], unit, challenger)}: "
        f"{verdict_text(verdicts[HEADLINE_POLICY], challenger)}{_flips_clause(ratios, verdicts, challenger)}"
    )


def _ratio_clause(ratio: Estimate, unit: str, challenger: str) -> str:
    """What a cost ratio (challenger / prune) says, with its interval or n and the unit."""
    if ratio.value is None:
        return f"there is no cost ratio in {unit_text(unit)} (a route was charged nothing, or measured nothing)"
    name = label_text(challenger)
    is_prune_cheaper = ratio.value >= 1
    cheap, dear = ("pruning", name) if is_prune_cheaper else (name, "pruning")
    turned = ratio if is_prune_cheaper else _inverse(ratio)
    if turned.low is None or turned.high is None:
        evidence = f"n = {ratio.n} replicate, so no interval"
    else:
        wide = f", {SAYS_NOTHING}" if ratio_says_nothing(turned.low, turned.high) else ""
        evidence = f"95 % interval {number(turned.low)} to {number(turned.high)}{wide}, n = {ratio.n} replicates"
    return (
        f"{dear} took {number(turned.value)}× the {unit_text(unit)} of {cheap} to reach the same accuracy ({evidence})"
    )


def _flips_clause(ratios: Mapping[str, Estimate], verdicts: Mapping[str, Verdict], challenger: str) -> str:
    """The policies under which the verdict is another one, with their ratios; empty where there are none."""
    name = label_text(challenger)
    others = [
        f"{POLICY_TEXT[policy]}, {verdict_text(verdict, challenger)} ({name} / prune = {number(ratios[policy].value)})"
        for policy, verdict in verdicts.items()
        if policy != HEADLINE_POLICY and verdict != verdicts[HEADLINE_POLICY]
    ]
    return f"; but {' and '.join(others)}" if others else ""


def _inverse(ratio: Estimate) -> Estimate:
    value, low, high = (None if x is None else 1 / x for x in (ratio.value, ratio.high, ratio.low))
    return Estimate(value, low, high, ratio.sd, ratio.n)
