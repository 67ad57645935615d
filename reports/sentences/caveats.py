"""What every reader of a study should know first, one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.audit.rules import older_rules_sentence
from accounting.cost.equivalence import rates_texts
from accounting.cost.models import models_text
from accounting.study.facts import REHEARSAL
from reports.data.caveats import Caveats

MOST = 10
"""How much damage is told one by one."""


def caveat_sentences(caveats: Caveats) -> list[str]:
    """A sentence for each caveat."""
    rehearsal = [REHEARSAL] if caveats.is_rehearsal else []
    hours = caveats.gpu_hours
    models = [f"{models_text(hours)}: their hours are added up here as they were held"] if hours else []
    declared = rates_texts(caveats.equivalence, caveats.moved)
    rules = [] if caveats.older_rules is None else [older_rules_sentence(caveats.older_rules)]
    return [*rehearsal, *models, *declared, *_some(caveats.damage), *rules]


def _some(damage: Sequence[str]) -> list[str]:
    """The first few: each line of a segment may be damaged."""
    more = len(damage) - MOST
    return [*damage[:MOST], *([f"{more} more like these; `prune-or-search audit` lists them"] if more > 0 else [])]
