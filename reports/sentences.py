"""Answers as sentences: each has its number, its interval or n, and its unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.statistics import Estimate
from reports.verdict import TIE_FACTOR, Verdict
from reports.wording import POLICY_TEXT, macs_text, number, points_estimate, unit_text

Fields = Mapping[str, Any]


def answer_sentence(given: Fields) -> str:
    """One sentence for one answer (:mod:`reports.answer`)."""
    at = f"At {macs_text(given['target_macs'])} MACs"
    if given["status"] == "refused":
        change = given["config_change"]
        how = "" if change is None else f"; to measure it: {' / '.join(change.splitlines())}"
        return f"{at}: no answer: {given['reason']}{how}"
    headline = given["headline_policy"]
    policies = given["policies"]
    ratio = estimate_of(policies[headline]["cost_ratio"])
    verdict = Verdict(policies[headline]["verdict"])
    label = "" if given["status"] == "measured" else " (interpolated, nothing was trained at this target)"
    return (
        f"{at}{label}: {ratio_clause(ratio, verdict, given['unit'])}, {POLICY_TEXT[headline]}"
        f"{_flips(policies, headline)}; prune − search test accuracy "
        f"{points_estimate(estimate_of(given['accuracy_difference']))}"
    )


def overall_sentence(ratio: Estimate, verdict: Verdict, unit: str, num_targets: int, policy: str, dataset: str) -> str:
    """The study's answer in one sentence, over all its measured targets."""
    if ratio.value is None:
        return (
            f"No answer yet: no target has networks from both routes (n = 0), so there is no cost ratio in "
            f"{unit_text(unit)} on {dataset}."
        )
    pooled = "1 target" if num_targets == 1 else f"{num_targets} targets pooled"
    clause = ratio_clause(ratio, verdict, unit)
    return f"{clause[0].upper()}{clause[1:]}, on {dataset}, {pooled}, {POLICY_TEXT[policy]}."


def ratio_clause(ratio: Estimate, verdict: Verdict, unit: str) -> str:
    """What a cost ratio (search / prune) says, with its interval or n, the unit and the verdict."""
    if ratio.value is None:
        return f"no cost ratio in {unit_text(unit)}, since a route was charged nothing or nothing was measured"
    prune_cheaper = ratio.value >= 1
    cheap, dear = ("pruning", "search") if prune_cheaper else ("search", "pruning")
    turned = ratio if prune_cheaper else _inverse(ratio)
    evidence = (
        f"n = {ratio.n} replicate, so no interval"
        if turned.low is None or turned.high is None
        else f"95 % interval {number(turned.low)} to {number(turned.high)}, n = {ratio.n} replicates"
    )
    fact = (
        f"{dear} took {number(turned.value)}× the {unit_text(unit)} of {cheap} to reach the same accuracy ({evidence})"
    )
    return f"{fact}: {verdict_text(verdict)}"


def verdict_text(verdict: Verdict) -> str:
    """The verdict in words."""
    return {
        Verdict.PRUNE: "pruning is cheaper",
        Verdict.SEARCH: "search is cheaper",
        Verdict.TIE: f"a tie (within a factor of {TIE_FACTOR})",
        Verdict.INSUFFICIENT_EVIDENCE: "insufficient evidence which is cheaper",
    }[verdict]


def estimate_of(fields: Fields) -> Estimate:
    """An estimate from its JSON form."""
    return Estimate(fields["value"], fields["low"], fields["high"], fields["sd"], fields["n"])


def _flips(policies: Fields, headline: str) -> str:
    """The policies under which the verdict is another one."""
    others = [
        f"{POLICY_TEXT[name]}: {verdict_text(Verdict(policy['verdict']))} ({number(policy['cost_ratio']['value'])}×)"
        for name, policy in policies.items()
        if name != headline and policy["verdict"] != policies[headline]["verdict"]
    ]
    return f"; but {', '.join(others)}" if others else ""


def _inverse(ratio: Estimate) -> Estimate:
    value, low, high = (None if x is None else 1 / x for x in (ratio.value, ratio.high, ratio.low))
    return Estimate(value, low, high, ratio.sd, ratio.n)
