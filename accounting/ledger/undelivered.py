"""A planned network that a spent budget left undelivered: the value, and its form in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accounting.ledger.records import UndeliveredRecord


@dataclass(frozen=True)
class Undelivered:
    """A planned network that was not delivered: its kind, target and replicate, and what it still needs.

    ``needs_h`` is in device-hours, scaled by how long the study's finished jobs took compared with the plan; if no job was
    done, by the speed of the study's plan (``by_plan``), and None without a plan. ``spent_h`` and ``budget_h`` are those of
    its route in the replicate; ``budget_h`` is None without a budget. ``budget_needed_h`` is the budget with which all
    replicates of the route deliver everything.
    """

    label: str
    route: str
    target: int
    replicate: int
    spent_h: float
    budget_h: float | None
    needs_h: float | None
    budget_needed_h: float | None
    waits_for: str | None = None
    """The route whose network this one needs first; hours and budgets are then those of that route."""
    by_plan: bool = False

    @classmethod
    def read(cls, record: object) -> Undelivered | None:
        """From the form of the ledger's record; None if it is not whole."""
        if not isinstance(record, dict) or not _is_whole(record):
            return None
        return cls(
            label=record["label"],
            route=record["route"],
            target=record["target"],
            replicate=record["replicate"],
            spent_h=record["spent_h"],
            budget_h=record["budget_h"],
            needs_h=record.get("needs_h"),
            budget_needed_h=record.get("budget_needed_h"),
            waits_for=record.get("waits_for"),
            by_plan=record.get("by_plan") is True,
        )

    def as_record(self) -> UndeliveredRecord:
        """In the form of the ledger's record."""
        said = UndeliveredRecord(
            label=self.label,
            route=self.route,
            target=self.target,
            replicate=self.replicate,
            spent_h=self.spent_h,
            budget_h=self.budget_h,
            needs_h=self.needs_h,
            budget_needed_h=self.budget_needed_h,
            waits_for=self.waits_for,
        )
        if self.by_plan:
            said["by_plan"] = True
        return said


def _is_whole(record: Mapping[str, object]) -> bool:
    """Whether a record has all that a sentence needs; the ledger's own checks ignore optional fields."""
    return (
        all(isinstance(record.get(key), str) for key in ("label", "route"))
        and isinstance(record.get("waits_for"), (str, type(None)))
        and all(isinstance(record.get(key), int) for key in ("target", "replicate"))
        and all(isinstance(record.get(key), (int, float)) for key in ("spent_h", "budget_h"))
        and all(isinstance(record.get(key), (int, float, type(None))) for key in ("needs_h", "budget_needed_h"))
    )
