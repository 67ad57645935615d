"""What every reader of a study should know first: that it is a rehearsal, that hours are mixed, damage, and older rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accounting.audit.rules import OlderRules, older_rules
from accounting.cost.at_rates import moved_by_ends
from accounting.cost.equivalence import NOTHING_DECLARED, Equivalence, Moved
from accounting.cost.models import mixed_hours
from accounting.cost.values import CostView
from accounting.ledger.store import Ledger
from accounting.study.facts import StudyFacts


@dataclass(frozen=True)
class Caveats:
    """What every reader of a study should know first; :mod:`reports.sentences.caveats` says it.

    ``gpu_hours`` are the hours on each GPU model, if several were held without a declared equivalence, and ``equivalence``
    is the one that is declared; ``moved`` says how far the ends of its ranges move the hours (None: not at all). ``damage``
    is what reading the ledger found, in its own words. ``older_rules`` is about sessions under older cost rules.
    """

    is_rehearsal: bool
    gpu_hours: Mapping[str, float]
    damage: tuple[str, ...]
    older_rules: OlderRules | None
    equivalence: Equivalence = NOTHING_DECLARED
    moved: Moved | None = None


def caveats_of(info: StudyFacts, ledger: Ledger, view: CostView) -> Caveats:
    """The caveats of a study that was read."""
    errors = (finding.message for finding in ledger.findings if finding.severity == "error")
    return Caveats(
        is_rehearsal=info.rehearsal is not None,
        gpu_hours=mixed_hours(view),
        damage=(*ledger.warnings, *errors),
        older_rules=older_rules(ledger.records, view),
        equivalence=view.equivalence,
        moved=moved_by_ends(view),
    )
