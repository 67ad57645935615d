"""What every reader of a study should know first: that it is a rehearsal, that hours are mixed, damage, and older rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accounting.audit.rules import OlderRules, older_rules
from accounting.cost.models import gpu_hours_by_model
from accounting.cost.values import CostView
from accounting.ledger.store import Ledger
from accounting.study.facts import StudyFacts


@dataclass(frozen=True)
class Caveats:
    """What every reader of a study should know first; :mod:`reports.sentences.caveats` says it.

    ``gpu_hours`` are the hours on each GPU model, if several were held. ``damage`` is what reading the ledger found, in
    its own words. ``older_rules`` is about sessions under older cost rules.
    """

    is_rehearsal: bool
    gpu_hours: Mapping[str, float]
    damage: tuple[str, ...]
    older_rules: OlderRules | None


def caveats_of(info: StudyFacts, ledger: Ledger, view: CostView) -> Caveats:
    """The caveats of a study that was read."""
    hours = gpu_hours_by_model(view)
    errors = (finding.message for finding in ledger.findings if finding.severity == "error")
    return Caveats(
        is_rehearsal=info.rehearsal is not None,
        gpu_hours=hours if len(hours) > 1 else {},
        damage=(*ledger.warnings, *errors),
        older_rules=older_rules(ledger.records, view),
    )
