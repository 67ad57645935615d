"""What every reader of a study should know first, one sentence each."""

from __future__ import annotations

from accounting.audit.rules import older_rules_sentence
from accounting.cost.equivalence import rates_texts
from accounting.cost.models import models_text
from accounting.study.facts import REHEARSAL
from reports.data.caveats import Caveats


def caveat_sentences(caveats: Caveats) -> list[str]:
    """A sentence for each caveat."""
    rehearsal = [REHEARSAL] if caveats.is_rehearsal else []
    hours = caveats.gpu_hours
    models = [f"{models_text(hours)}: their hours are added up here as they were held"] if hours else []
    declared = rates_texts(caveats.equivalence, caveats.moved)
    rules = [] if caveats.older_rules is None else [older_rules_sentence(caveats.older_rules)]
    return [*rehearsal, *models, *declared, *caveats.damage, *rules]
