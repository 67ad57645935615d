"""The values by which a cost report divides, in words."""

from __future__ import annotations

from accounting.words.names import label_text
from accounting.words.quantities import macs_short

NOT_ON_RECORD = "not on record"
NO_ROUTE = "start-ups, no attempt"
SHARED = "all targets"


def part_text(key: str, value: str | int | None) -> str:
    """A value of a key of :func:`reports.cost_report.divide.divide` in words, also if it is None."""
    if value is None:
        return {"route": NO_ROUTE, "replicate": NO_ROUTE, "target": SHARED}.get(key, NOT_ON_RECORD)
    if key == "route":
        return label_text(str(value))
    if key == "target":
        return f"{macs_short(float(value))} MACs"
    return str(value).replace("_", " ") if key == "phase" else str(value)
