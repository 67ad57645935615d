"""Whether a study's verdict stands, by the audit of its ledger, in one sentence."""

from __future__ import annotations

from accounting.audit.meanings import MEANINGS, Standing, Stands

AUDIT = "`prune-or-search audit` says what was found and what it means"


def standing_sentences(standing: Standing) -> list[str]:
    """One sentence if the verdict does not stand or may shift; none if it stands."""
    if standing.stands is Stands.YES:
        return []
    first, num_more = standing.findings[0], len(standing.findings) - 1
    more = f" (and {num_more} more like it)" if num_more else ""
    return [
        f"By the audit of its ledger, the verdict of this study {standing.stands}: {first.message}{more}; that means: "
        f"{MEANINGS[first.code].said}; {AUDIT}."
    ]
