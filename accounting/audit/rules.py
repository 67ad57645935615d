"""The cost rules under which the sessions of a ledger ran, and what they mean for its costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from accounting.cost.values import Attempt, CostView
from accounting.ledger.findings import Finding
from accounting.ledger.records import COST_RULES, Kind, Phase, Record
from accounting.words.names import unit_text
from accounting.words.quantities import HOUR_S

EXPORTED = ("onnx_max_abs_error", "int8", "latency", "dead_channels")
"""Fields that only an export leaves in the outcome of an evaluation."""


def rules_of_sessions(records: Sequence[Record]) -> dict[str, int]:
    """The cost rules of each session, sorted by time; the oldest if the segments of a session disagree."""
    rules: dict[str, int] = {}
    opened = Kind.SEGMENT_OPENED.value  # a plain string compares faster than an enum
    for record in records:
        if record["kind"] == opened:
            rules[record["session"]] = min(rules.get(record["session"], COST_RULES), record["rules"])
    return rules


def rules_text(rules: Mapping[str, int]) -> str:
    """The versions of the cost rules that these sessions ran under, oldest first: ``1 (s1, s2), 2 (s3)``."""
    sessions: dict[int, list[str]] = {}
    for session, version in rules.items():
        sessions.setdefault(version, []).append(session)
    if len(sessions) < 2:
        return "".join(map(str, sessions))
    return ", ".join(f"{version} ({_some(names)})" for version, names in sorted(sessions.items()))


@dataclass(frozen=True)
class OlderRules:
    """Sessions under older cost rules (``old``), and those under the present ones.

    ``num_exports`` evaluations in the older sessions had exports in them, and held ``hours``, in device-hours of ``unit``.
    """

    old: tuple[str, ...]
    newer: tuple[str, ...]
    num_exports: int
    hours: float
    unit: str


def older_rules(records: Sequence[Record], view: CostView) -> OlderRules | None:
    """The sessions of a ledger under older cost rules; None if there are none."""
    rules = rules_of_sessions(records)
    old = tuple(session for session, version in rules.items() if version < COST_RULES)
    if not old:
        return None
    exports = [attempt for attempt in view.attempts if attempt.session in old and _has_exports(attempt)]
    return OlderRules(
        old=old,
        newer=tuple(session for session in rules if session not in old),
        num_exports=len(exports),
        hours=sum(attempt.allocated_s for attempt in exports) / HOUR_S,
        unit=view.unit,
    )


def older_rules_sentence(found: OlderRules) -> str:
    """What a reader should know about sessions under older cost rules."""
    which = f"session{'s' if len(found.old) > 1 else ''} {_some(found.old)}" if found.newer else "all sessions"
    others = f", {_some(found.newer)} under {COST_RULES}" if found.newer else ""
    if not found.num_exports:
        meaning = "none of its evaluations made exports, so costs are the same under both"
    else:
        meaning = (
            f"exports ran inside {found.num_exports} evaluations and are charged to the routes: how much of their "
            f"{found.hours:.3g} {unit_text(found.unit)} it was cannot be told"
        )
    return f"cost rules 1: {which}{others}; {meaning}"


def older_rules_findings(records: Sequence[Record], view: CostView) -> Iterator[Finding]:
    """A warning if the ledger has sessions under older rules."""
    found = older_rules(records, view)
    if found is not None:
        yield Finding("warning", "older_rules", older_rules_sentence(found))


def _has_exports(attempt: Attempt) -> bool:
    found = attempt.outcome or {}
    return attempt.phase == Phase.EVALUATE and any(found.get(name) is not None for name in EXPORTED)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
