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
from reports.compare.verdict import CostComparison, cheaper_route
from reports.statistics import Estimate

SCHEMA_VERSION = 1
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
        "verdict": _verdict(found.headline.headline) if found else None,
        "accuracy": {
            label: {"test_top1": both.test_top1.as_dict(), "val_top1": both.val_top1.as_dict()}
            for label, both in (found.accuracy if found else {}).items()
        },
        "accuracy_difference": found.headline.difference.as_dict() if found else None,
        "more_accurate": cheaper_route(found.headline.more_accurate, found.headline.challenger) if found else None,
        "policies": _policies(found.headline) if found else {},
        "further_routes": {compared.challenger: _further(compared, given) for compared in given.further},
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
        "verdict": cheaper_route(headline.verdicts[HEADLINE_POLICY], headline.challenger),
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
        "cost_ratio": costs.cost_ratio.as_dict(),
        "cost_to_equal_quality": _estimates(costs.to_quality, costs.challenger),
        "total_cost": _estimates(costs.total, costs.challenger),
        "total_cost_ratio": costs.total_cost_ratio.as_dict(),
        "equal_quality_val_top1": {str(replicate): q for replicate, q in costs.quality_of.items()},
    }


def _pooled_policies(pooled: Pooled) -> Fields:
    return {
        policy: {
            "verdict": cheaper_route(pooled.verdicts[policy], pooled.challenger),
            "cost_ratio": ratio.as_dict(),
            "num_targets": pooled.num_targets[policy],
        }
        for policy, ratio in pooled.ratios.items()
    }


def _estimates(by_route: Mapping[str, Estimate], challenger: str) -> Fields:
    return {route: by_route[route].as_dict() for route in (challenger, PRUNE)}


def _verdict(costs: CostComparison) -> str:
    return cheaper_route(costs.verdict, costs.challenger)
