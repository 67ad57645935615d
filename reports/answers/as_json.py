"""Answers as JSON: the only module that knows ``answer.schema.json`` and docs/answer_schema.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from accounting.audit.meanings import Stands
from accounting.cost.shares import HEADLINE_POLICY
from accounting.ledger.records import VERDICT_RULES
from accounting.study.facts import DeclaredParent
from accounting.words.json_values import ChangedKey, Fields, Json
from accounting.words.names import PRUNE
from reports.answers.asked_values import AskedAnswer, AskedBetween, AskedRefused
from reports.answers.pooled import Pooled
from reports.answers.refusal_text import config_change, reason_text
from reports.answers.text import comparison_sentence, notes, overall_sentence, sentence
from reports.answers.values import Answer, Comparison, Interpolated, Measured, Refused, status_of
from reports.answers.verdict_words import guard_text
from reports.answers.within_budget import BudgetAnswer
from reports.compare.charges import BreakEven, BreakEvenEnds
from reports.compare.guards import Guarded
from reports.compare.rule import Verdict
from reports.compare.values import (
    CheapestOfAll,
    CostComparison,
    Instead,
    PaysAgainst,
    PooledCosts,
    PooledPays,
    WhoPays,
)
from reports.compare.verdict import cheaper_route
from reports.statistics import Estimate

SCHEMA_VERSION = 2
AskedReply: TypeAlias = AskedAnswer | AskedBetween | BudgetAnswer | AskedRefused


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
        "verdict_stands": str(question.standing.stands),
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
        "who_pays": _pays(given.pays) if isinstance(given, Measured) else None,
        "declared_parent": _declared(question.declared),
        "left_out_error": given.left_out_error if isinstance(given, Interpolated) else None,
        "extensions": [extension.as_dict() for extension in question.extensions],
        "notes": notes(given),
        "reason": reason_text(given) if isinstance(given, Refused) else None,
        "config_change": config_change(given) if isinstance(given, Refused) else None,
        "sentence": sentence(given),
    }


def report_json(
    answers: Sequence[Answer],
    headline: Pooled,
    further: Sequence[Pooled],
    said: str,
    lines: Sequence[str],
    pays: PooledPays | None = None,
    *,
    is_judged: bool = True,
    rehearsal: Sequence[ChangedKey] | None = None,
    stands: Stands = Stands.YES,
) -> Fields:
    """The content of ``report/answer.json``: the whole study, then each of its targets.

    ``rehearsal`` is what a rehearsal changed in its config; it is not judged, like hours on several GPU models.
    ``stands`` is what the audit of the ledger says of the verdict.
    """
    question, n = answers[0].question, 0 if headline.headline is None else headline.headline.n
    return {
        "study": question.study,
        "verdict_rules": VERDICT_RULES,
        "sentence": said,
        "lines": list(lines),
        "unit": question.unit,
        "headline_policy": HEADLINE_POLICY,
        "verdict": _pooled_verdict(headline) if is_judged else Verdict.NOT_COMPARABLE.value,
        "verdict_stands": str(stands),
        "replicates_planned": question.replicates,
        "n": n,
        "provisional": 0 < n < question.replicates,
        "policies": _pooled_policies(headline),
        "further_routes": {
            pooled.challenger: {
                "policies": _pooled_policies(pooled),
                "sentence": overall_sentence(pooled, question),
            }
            for pooled in further
        },
        "break_even": None if pays is None else _break_evens(pays),
        "declared_parent": _declared(question.declared),
        "answers": [to_json(given) for given in answers],
        **({} if rehearsal is None else {"rehearsal": [_changed(change) for change in rehearsal]}),
    }


def _changed(change: ChangedKey) -> Fields:
    return {"key": change["key"], "old": change["old"], "new": change["new"]}


def asked_json(
    replies: Sequence[AskedReply],
    unit: str,
    study: str,
    sentences: Sequence[str],
    planned: Sequence[str | None],
    notes: Sequence[str] = (),
    stands: Stands = Stands.YES,
) -> Fields:
    """What ``answer`` prints for a question about an accuracy, a budget or other terms: one reply per target.

    ``planned`` has, for each reply, the planned cost of the change that would measure it; None if that is unknown.
    ``notes`` are what to keep in mind when reading any of them, and ``stands`` is what the audit of the ledger says.
    """
    return {
        "study": study,
        "verdict_rules": VERDICT_RULES,
        "unit": unit,
        "verdict_stands": str(stands),
        "notes": list(notes),
        "replies": [
            {**_reply(given), "sentence": said, "plan": plan}
            for given, said, plan in zip(replies, sentences, planned, strict=True)
        ],
    }


def _reply(given: AskedReply) -> Fields:
    question = given.question
    common: dict[str, Json] = {"target_macs": question.target, "declared_parent": _declared(question.declared)}
    if isinstance(given, AskedRefused):
        return {**common, "status": "refused", "reason": reason_text(given), "config_change": config_change(given)}
    if isinstance(given, BudgetAnswer):
        return {
            **common,
            "status": "measured",
            "budget_hours": given.budget_h,
            "ways": [
                {
                    "contender": way.label,
                    "val_top1": way.val_top1.as_dict(),
                    "replicates_entered": way.num_entered,
                    "ended_hours": None if way.ended_h is None else way.ended_h.as_dict(),
                }
                for way in given.ways
            ],
            "not_shown_to_beat": list(given.not_shown),
        }
    terms = given.asked.terms
    return {
        **common,
        "status": "measured" if isinstance(given, AskedAnswer) else "interpolated",
        "left_out_error": None if isinstance(given, AskedAnswer) else given.left_out_error,
        "val_top1": given.level,
        "targets_served": terms.targets_served,
        "parent_price_hours": terms.parent_h,
        "ways": [
            {
                "contender": way.label,
                "cost": way.cost.as_dict(),
                "replicates_reached": way.num_reached,
                "replicates_entered": way.num_entered,
            }
            for way in given.ways
        ],
        "cheapest": _cheapest(given.cheapest),
        "comparison": None if given.headline is None else _costs(given.headline),
    }


def _pays(pays: WhoPays | None) -> Fields | None:
    if pays is None:
        return None
    return {
        "common_val_top1": pays.level,
        "parent_hours": pays.parent_h.as_dict(),
        "parts": {
            parts.label: {
                "pretraining": parts.pretraining.as_dict(),
                "shared": parts.shared.as_dict(),
                "own": parts.own.as_dict(),
                "total": parts.total.as_dict(),
                "builds_on_parent": parts.builds_on_parent,
            }
            for parts in pays.parts
        },
        "against_prune": {
            label: {
                **_break_evens(against),
                "at_lower_accuracy": [
                    {
                        "below": at.below,
                        "val_top1": at.level,
                        "cost_ratio": at.cost_ratio.as_dict(),
                        "replicates_reached": _by_label(at.num_reached),
                    }
                    for at in against.levels
                ],
            }
            for label, against in pays.against.items()
        },
    }


def _break_evens(found: PaysAgainst | PooledPays) -> Fields:
    return {"targets_served": _break_even(found.targets), "parent_price_hours": _break_even(found.price)}


def _break_even(found: BreakEven) -> Fields:
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "cheaper_below": found.below,
        "cheaper_above": found.above,
        "shown_everywhere": found.is_shown_everywhere,
        "interval_alpha": found.alpha,
        "n": found.n,
        **({} if found.ends is None else {"at_rate_ends": _ends(found.ends)}),
    }


def _ends(found: BreakEvenEnds) -> Fields:
    return {"low": found.low, "high": found.high, "never": list(found.never)}


def _declared(declared: DeclaredParent | None) -> Fields | None:
    return None if declared is None else declared.as_dict()


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
