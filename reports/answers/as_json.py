"""Answers as JSON: the one module that knows ``answer.schema.json`` and docs/answer_schema.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from accounting.cost.shares import HEADLINE_POLICY
from accounting.ledger.records import VERDICT_RULES
from accounting.words.names import PRUNE
from reports.answers.pooled import Pooled
from reports.answers.text import comparison_sentence, notes, overall_sentence, sentence
from reports.answers.values import Answer, Comparison, Interpolated, Measured, Refused, status_of
from reports.answers.verdict_words import guard_text
from reports.compare.guards import Guarded
from reports.compare.values import CheapestOfAll, CostComparison, Instead, PooledCosts
from reports.compare.verdict import cheaper_route
from reports.statistics import Estimate

SCHEMA_VERSION = 2
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Fields: TypeAlias = Mapping[str, Json]


def to_json(given: Answer) -> Fields:
    """One answer, as ``prune-or-search answer --json`` prints it."""
    question = given.question
    found = None if isinstance(given, Refused) else given
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict_rules": VERDICT_RULES,
        "status": status_of(given),
        "study": question.study,
        "dataset": question.dataset,
        "target_macs": question.target,
        "unit": question.unit,
        "headline_policy": HEADLINE_POLICY,
        "measured_targets": list(question.measured_targets),
        "replicates_planned": question.replicates,
        "n": found.headline.n if found else 0,
        "complete": _is_complete(given),
        "provisional": found is not None and not _is_complete(given),
        "verdict": _verdict(found.headline.headline) if found else None,
        "challenger": found.headline.challenger if found else None,
        "accuracy": {
            label: {"test_top1": both.test_top1.as_dict(), "val_top1": both.val_top1.as_dict()}
            for label, both in (found.accuracy if found else {}).items()
        },
        "accuracy_difference": found.headline.difference.as_dict() if found else None,
        "more_accurate": cheaper_route(found.headline.more_accurate, found.headline.challenger) if found else None,
        "policies": _policies(found.headline) if found else {},
        "further_routes": {compared.challenger: _further(compared, given) for compared in given.further},
        "cheapest": _cheapest(given.cheapest.get(HEADLINE_POLICY)) if isinstance(given, Measured) else None,
        "left_out_error": given.left_out_error if isinstance(given, Interpolated) else None,
        "extensions": [extension.as_dict() for extension in question.extensions],
        "notes": notes(given),
        "reason": given.reason if isinstance(given, Refused) else None,
        "config_change": given.change if isinstance(given, Refused) else None,
        "sentence": sentence(given),
    }


def report_json(
    answers: Sequence[Answer], headline: Pooled, further: Sequence[Pooled], said: str, lines: Sequence[str]
) -> Fields:
    """What ``report/answer.json`` holds: the whole study, then each of its targets."""
    question = answers[0].question
    return {
        "study": question.study,
        "verdict_rules": VERDICT_RULES,
        "sentence": said,
        "lines": list(lines),
        "unit": question.unit,
        "headline_policy": HEADLINE_POLICY,
        "verdict": _pooled_verdict(headline),
        "policies": _pooled_policies(headline),
        "further_routes": {
            pooled.challenger: {
                "policies": _pooled_policies(pooled),
                "sentence": overall_sentence(pooled, question),
            }
            for pooled in further
        },
        "answers": [to_json(given) for given in answers],
    }


def _is_complete(given: Answer) -> bool:
    if isinstance(given, Interpolated):
        return given.low.is_complete and given.high.is_complete
    return isinstance(given, Measured) and given.is_complete


def _further(compared: Comparison, given: Answer) -> Fields:
    return {
        "n": compared.n,
        "accuracy_difference": compared.difference.as_dict(),
        "policies": _policies(compared),
        "sentence": comparison_sentence(compared, given),
    }


def _policies(compared: Comparison) -> Fields:
    return {policy: _costs(costs) for policy, costs in compared.by_policy.items()}


def _costs(costs: CostComparison) -> Fields:
    return {
        "verdict": _verdict(costs),
        "reason": _reason(costs.guarded, costs.challenger),
        "cost_ratio": costs.cost_ratio.as_dict(),
        "interval_alpha": costs.alpha,
        "by_more_than_1_25": costs.by_more,
        "settling_n": costs.settling_n,
        "common_val_top1": costs.level,
        "replicates_reached": _by_label(costs.num_reached),
        "replicates_entered": _by_label(costs.num_entered),
        "neither": [_instead(one) for one in costs.instead],
        "cost_to_equal_quality": _estimates(costs.to_quality, costs.challenger),
        "total_cost": _estimates(costs.total, costs.challenger),
        "total_cost_ratio": costs.total_cost_ratio.as_dict(),
    }


def _by_label(counts: Mapping[str, int]) -> Fields:
    return dict(counts)


def _reason(guarded: Guarded | None, challenger: str) -> str | None:
    return None if guarded is None else guard_text(guarded, challenger)


def _instead(one: Instead) -> Fields:
    return {
        "contender": one.label,
        "prune_ratio": one.base_ratio.as_dict(),
        "challenger_ratio": one.challenger_ratio.as_dict(),
    }


def _cheapest(found: CheapestOfAll | None) -> Fields | None:
    if found is None:
        return None
    return {
        "contender": found.label,
        "shown": found.is_shown,
        "prune_ratio": found.saving.as_dict(),
        "not_shown_to_beat": list(found.not_beaten),
        "num_others": found.num_others,
    }


def _pooled_verdict(pooled: Pooled) -> str:
    costs = pooled.headline
    return "insufficient_evidence" if costs is None else cheaper_route(costs.verdict, pooled.challenger)


def _pooled_policies(pooled: Pooled) -> Fields:
    return {policy: _pooled_costs(costs, pooled.challenger) for policy, costs in pooled.by_policy.items()}


def _pooled_costs(costs: PooledCosts, challenger: str) -> Fields:
    return {
        "verdict": cheaper_route(costs.verdict, challenger),
        "reason": _reason(costs.guarded, challenger),
        "cost_ratio": costs.cost_ratio.as_dict(),
        "interval_alpha": costs.alpha,
        "by_more_than_1_25": costs.by_more,
        "settling_n": costs.settling_n,
        "neither": list(costs.instead),
        "num_targets": costs.num_targets,
    }


def _estimates(by_route: Mapping[str, Estimate], challenger: str) -> Fields:
    return {route: by_route[route].as_dict() for route in (challenger, PRUNE)}


def _verdict(costs: CostComparison) -> str:
    return cheaper_route(costs.verdict, costs.challenger)
