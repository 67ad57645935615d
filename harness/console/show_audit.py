"""The command ``audit``: whether a ledger adds up, as text or JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from accounting.audit.audit import AuditReport
from accounting.audit.audit import audit as check
from accounting.audit.meanings import MEANINGS
from accounting.ledger.compacted import damaged_in
from accounting.ledger.findings import Finding
from accounting.ledger.index import lost_ledger
from accounting.ledger.store import read_lean
from accounting.study.folder import StudyFolder
from accounting.words.names import DeviceKind, Unit
from harness.console.terminal import say, say_json
from harness.errors import InputError
from reports.data.study import read_study

MOST_OF_A_KIND = 10
"""How many findings of one kind are shown as text: each line of a converted file is one."""


def show_audit(folder: Path, *, as_json: bool) -> bool:
    """Print the audit of a study's ledger, and return whether the ledger adds up; ``InputError`` if it is lost."""
    study, _ = read_study(folder)
    if lost := lost_ledger(StudyFolder(folder).ledger):
        raise InputError(lost)
    kept = StudyFolder(folder).compacted
    ledger = read_lean(StudyFolder(folder).ledger, strict=False, compacted=kept)
    found = check(ledger.records, [*ledger.findings, *damaged_in(kept)], ledger.points, study)
    if as_json:
        meant = [{**asdict(each), "verdict": MEANINGS[each.code].stands, "meaning": MEANINGS[each.code].said}
                 for each in found.findings]  # fmt: skip
        balances = [asdict(each) for each in found.balances]
        say_json({"findings": meant, "balances": balances, "ok": found.ok, "verdict": found.stands,
                  "warnings": list(ledger.warnings)})  # fmt: skip
    else:
        say(_text(found, ledger.warnings, found.hours))
    return found.ok


def _text(found: AuditReport, warnings: tuple[str, ...], hours: Mapping[DeviceKind, float]) -> str:
    lines = [
        f"session {b.session}, {b.device} ({b.capacity:g}), device-seconds: capacity {b.capacity_s:.1f}, allocated "
        f"{b.allocated_s:.1f} (productive {b.productive_s:.1f}, overhead {b.overhead_s:.1f}, lost {b.lost_s:.1f}), "
        f"idle {b.idle_s:.1f}; imbalance {b.imbalance:.2%}; driver work {b.driver_work_s:.1f} s beside it"
        for b in found.balances
    ]
    lines += [
        f"total: {h:.6f} {Unit.of(kind).text} held by attempts and start-ups" for kind, h in sorted(hours.items())
    ]
    lines += [*warnings, *_findings(found.findings)]
    lines += [f"{code}: {MEANINGS[code].said}" for code in dict.fromkeys(f.code for f in found.findings)]
    lines += [f"the verdict {found.stands}"] if found.findings else []
    return "\n".join([*lines, "the ledger adds up" if found.ok else "the ledger does not add up"])


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each, but no more than a few of one kind; JSON has all."""
    counts: Counter[str] = Counter()
    of_kind = Counter(finding.code for finding in findings)
    for finding in findings:
        counts[finding.code] += 1
        if counts[finding.code] <= MOST_OF_A_KIND:
            yield f"{finding.severity}: {finding.message}"
        elif counts[finding.code] == of_kind[finding.code]:
            num_more = of_kind[finding.code] - MOST_OF_A_KIND
            yield f"{finding.severity}: {num_more} more like that ({finding.code}); `audit --json` lists all"
