"""Answers as sentences: each has its number, its interval or n, and its unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.statistics import Estimate
from reports.verdict import HEADLINE_CHALLENGER, TIE_FACTOR, Verdict
from reports.wording import POLICY_TEXT, label_text, macs_text, number, points_estimate, unit_text

Fields = Mapping[str, Any]


def answer_sentence(given: Fields) -> str:
    """One sentence for one answer (:mod:`reports.answer`)."""
    at = f"At {macs_text(given['target_macs'])} MACs"
    if given["status"] == "refused":
        change = given["config_change"]
        how = "" if change is None else f"; to measure it: {' and '.join(change.splitlines())}"
        return f"{at}: no answer: {given['reason']}{how}"
    headline, policies = given["headline_policy"], given["policies"]
    label = "" if given["status"] == "measured" else " (interpolated, nothing was trained at this target)"
    ratios = {name: estimate_of(policy["cost_ratio"]) for name, policy in policies.items()}
    verdicts = {name: Verdict(policy["verdict"]) for name, policy in policies.items()}
    return (
        f"{at}{label}, {POLICY_TEXT[headline]}, {ratio_clause(ratios[headline], given['unit'])}: "
        f"{verdict_text(verdicts[headline])}{flips_clause(ratios, verdicts, headline)}; "
        f"prune − search test accuracy: {points_estimate(estimate_of(given['accuracy_difference']))}."
    )


def accuracy_sentence(given: Fields) -> str:
    """How the accuracy side of the question, RQ1, reads for a target with an answer."""
    difference = points_estimate(estimate_of(given["accuracy_difference"]))
    reading = {
        "prune": "the pruned network is more accurate than the one found by search",
        "search": "the network found by search is more accurate than the pruned one",
    }.get(given["more_accurate"], "neither the pruned network nor the one found by search is shown to be more accurate")
    return f"At {macs_text(given['target_macs'])} MACs {reading}: prune − search = {difference} of test top-1."


def overall_sentence(
    ratios: Mapping[str, Estimate],
    verdicts: Mapping[str, Verdict],
    *,
    unit: str,
    num_targets: int,
    headline: str,
    dataset: str,
) -> str:
    """The study's answer in one sentence, over all its measured targets."""
    if num_targets == 0:
        return (
            f"No answer yet: no target has networks from both routes (n = 0), so there is no cost ratio in "
            f"{unit_text(unit)} on {dataset}."
        )
    pooled = "1 target" if num_targets == 1 else f"{num_targets} targets pooled"
    return (
        f"On {dataset}, {pooled}, {POLICY_TEXT[headline]}, {ratio_clause(ratios[headline], unit)}: "
        f"{verdict_text(verdicts[headline])}{flips_clause(ratios, verdicts, headline)}."
    )


def route_sentence(
    route: str, at: str, ratios: Mapping[str, Estimate], verdicts: Mapping[str, Verdict], unit: str, headline: str
) -> str:
    """How a further route compares with pruning; ``at`` says for which targets."""
    return (
        f"{at}, {POLICY_TEXT[headline]}, {ratio_clause(ratios[headline], unit, route)}: "
        f"{verdict_text(verdicts[headline], route)}{flips_clause(ratios, verdicts, headline, route)}"
    )


def ratio_clause(ratio: Estimate, unit: str, challenger: str = HEADLINE_CHALLENGER) -> str:
    """What a cost ratio (challenger / prune) says, with its interval or n and the unit."""
    if ratio.value is None:
        return f"there is no cost ratio in {unit_text(unit)} (a route was charged nothing, or measured nothing)"
    name = label_text(challenger)
    prune_cheaper = ratio.value >= 1
    cheap, dear = ("pruning", name) if prune_cheaper else (name, "pruning")
    turned = ratio if prune_cheaper else _inverse(ratio)
    evidence = (
        f"n = {ratio.n} replicate, so no interval"
        if turned.low is None or turned.high is None
        else f"95 % interval {number(turned.low)} to {number(turned.high)}, n = {ratio.n} replicates"
    )
    return (
        f"{dear} took {number(turned.value)}× the {unit_text(unit)} of {cheap} to reach the same accuracy ({evidence})"
    )


def flips_clause(
    ratios: Mapping[str, Estimate],
    verdicts: Mapping[str, Verdict],
    headline: str,
    challenger: str = HEADLINE_CHALLENGER,
) -> str:
    """The policies under which the verdict is another one, with their ratios; empty where there are none."""
    name = label_text(challenger)
    others = [
        f"{POLICY_TEXT[policy]}, {verdict_text(verdict, challenger)} ({name} / prune = {number(ratios[policy].value)})"
        for policy, verdict in verdicts.items()
        if policy != headline and verdict != verdicts[headline]
    ]
    return f"; but {' and '.join(others)}" if others else ""


def verdict_text(verdict: Verdict, challenger: str = HEADLINE_CHALLENGER) -> str:
    """The verdict in words."""
    return {
        Verdict.PRUNE: "pruning is cheaper",
        Verdict.SEARCH: f"{label_text(challenger)} is cheaper",
        Verdict.TIE: f"a tie (within a factor of {TIE_FACTOR})",
        Verdict.INSUFFICIENT_EVIDENCE: "insufficient evidence for which is cheaper",
    }[verdict]


def estimate_of(fields: Fields) -> Estimate:
    """An estimate from its JSON form."""
    return Estimate(fields["value"], fields["low"], fields["high"], fields["sd"], fields["n"])


def _inverse(ratio: Estimate) -> Estimate:
    value, low, high = (None if x is None else 1 / x for x in (ratio.value, ratio.high, ratio.low))
    return Estimate(value, low, high, ratio.sd, ratio.n)
