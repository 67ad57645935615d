"""Attempts at what the study does not have, by its ``study.yaml``: another's file or ledger, or a changed record."""

from __future__ import annotations

from collections.abc import Iterator

from accounting.cost.values import CostView
from accounting.ledger.findings import Finding
from accounting.study.facts import StudyFacts


def foreign_in(view: CostView, study: StudyFacts) -> Iterator[Finding]:
    """One finding for each route, target or replicate: what was begun cannot be left out of a study later."""
    found: dict[str, str] = {}
    for attempt in view.attempts:
        for what, is_known in (
            (f"route {attempt.route}", attempt.route in study.routes),
            (f"a target of {attempt.target} MACs", attempt.target is None or attempt.target in study.targets),
            (f"replicate {attempt.replicate}", 0 <= attempt.replicate < study.replicates),
        ):
            if not is_known:
                found.setdefault(what, attempt.attempt)
    for what, name in found.items():
        yield Finding("error", "not_of_the_study", f"attempt {name} is of {what}, which study.yaml does not have")
