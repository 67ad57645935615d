"""Files that a report does without, in a sentence each."""

from __future__ import annotations

from reports.measure.unusable import Beside, Unusable

WITHOUT = {
    Beside.PRICES: "no cost is given in money",
    Beside.PLANS: "planned and actual cost are not compared",
}


def unusable_sentence(found: Unusable) -> str:
    """What the report does without, and why."""
    return f"{WITHOUT[found.what]}: {found.why}"
