"""The comparison of studies as JSON."""

from __future__ import annotations

from accounting.ledger.records import VERDICT_RULES
from accounting.words.json_values import Fields
from reports.answers.refusal_text import reason_text
from reports.answers.values import Refused
from reports.compare.rule import ALPHA
from reports.compare.verdict import cheaper_route
from reports.side_by_side.text import subject_text, why_text
from reports.side_by_side.values import Compared, SideBySide, TargetRow

SCHEMA_VERSION = 1
NO_ANSWER = "no_answer"


def as_json(found: SideBySide) -> Fields:
    """The whole comparison."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict_rules": VERDICT_RULES,
        "studies": [_study(study) for study in found.studies],
        "aspects": [
            {"aspect": a.key.value, "agreement": a.agreement.value, "values": list(a.values)} for a in found.aspects
        ],
        "comparable": [{"subject": subject_text(f), "comparable": f.can, "why": why_text(f)} for f in found.findings],
        "ratios": [
            {
                "study": apart.study,
                "first": apart.first,
                "factor": apart.factor.as_dict(),
                "differs_in": [key.value for key in apart.differs_in],
            }
            for apart in found.ratios
        ],
    }


def _study(study: Compared) -> Fields:
    pooled = study.pooled
    return {
        "study": study.name,
        "folder": study.folder,
        "sentence": study.answer.short,
        "unit": study.unit,
        "total_hours": study.total_h,
        "challenger": study.challenger,
        "cost_ratio": study.ratio.as_dict(),
        "interval_alpha": ALPHA if pooled is None else pooled.alpha,
        "verdict": NO_ANSWER if pooled is None else cheaper_route(pooled.verdict, study.challenger),
        "provisional": pooled is not None and pooled.n < study.answer.frames.info.replicates,
        "targets": [_row(row) for row in study.rows],
        "warnings": study.warnings,
    }


def _row(row: TargetRow) -> Fields:
    costs = row.comparison
    return {
        "target_macs": row.given.question.target,
        "share_of_parent": row.share,
        "common_val_top1": None if costs is None else costs.level,
        "cost_to_equal_quality": {label: cost.as_dict() for label, cost in row.costs.items()},
        "test_top1": {label: top1.as_dict() for label, top1 in row.test_top1.items()},
        "cost_ratio": row.cost_ratio.as_dict(),
        "interval_alpha": ALPHA if costs is None else costs.alpha,
        "verdict": NO_ANSWER if costs is None else cheaper_route(costs.verdict, costs.challenger),
        "n": row.n,
        "provisional": costs is not None and row.n < row.given.question.replicates,
        "cheapest": row.cheapest,
        "reason": reason_text(row.given) if isinstance(row.given, Refused) else None,
    }
