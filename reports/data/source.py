"""What a study folder says before anything is computed for a report: its config, and the cost view of its ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from accounting.cost.attempts import CostView, view_of
from accounting.cost.evidence import Evidence, gather
from accounting.ledger.store import Ledger, read_lean
from accounting.ledger.uncollected import uncollected
from accounting.study.facts import StudyDocument, StudyFacts
from accounting.study.folder import StudyFolder
from accounting.words.names import unit_text
from accounting.words.plain_text import plain, plain_values
from reports.data.caveats import Caveats, caveats_of
from reports.data.study import read_study
from reports.errors import NotAStudy


@dataclass(frozen=True)
class Source:
    """A study on disk; ``document`` is the whole of ``study.yaml``."""

    info: StudyFacts
    document: StudyDocument
    ledger: Ledger
    evidence: Evidence
    """The sorted records of the ledger, from which ``view`` was derived."""
    view: CostView

    @cached_property
    def caveats(self) -> Caveats:
        """What every reader should know first."""
        return caveats_of(self.info, self.ledger, self.view)


def load_source(folder: Path) -> Source:
    """Read ``study.yaml`` and the ledger of a study folder.

    Raises:
        NotAStudy: the folder, its ``study.yaml`` or its ledger is missing, or ``study.yaml`` is not a resolved study.
        LedgerError: a line of the ledger is garbled, or was written under other accounting rules.

    """
    folder = Path(folder)
    info, document = read_study(folder)
    study = StudyFolder(folder)
    segments = study.ledger
    if not any(segments.glob("*.jsonl")):
        raise NotAStudy(f"{folder} has no ledger: expected ledger/*.jsonl beside study.yaml; has the study been run?")
    ledger = _plain(read_lean(segments, clean=plain_values, compacted=study.compacted))
    with uncollected():
        evidence = gather(ledger.records, ledger.points)
        view = view_of(evidence)
    info = _rehearsed(info, ledger)
    declared = info.declared_parent
    if declared is not None and declared.unit != view.unit and view.attempts:
        raise NotAStudy(
            f"{folder}: parent.declared_cost is {declared.text!r}, and the ledger has {unit_text(view.unit)}, which no "
            "rate converts; declare it in those, or leave it out"
        )
    return Source(info, document, ledger, evidence, view)


def _rehearsed(info: StudyFacts, ledger: Ledger) -> StudyFacts:
    """The study's facts; if the ledger says that it is a rehearsal, it is one, whatever ``study.yaml`` says."""
    said = (record["rehearsal"] for record in ledger.records if record.get("rehearsal") is not None)
    first = next(said, None)
    return info if first is None or info.rehearsal is not None else replace(info, rehearsal=tuple(first))


def _plain(ledger: Ledger) -> Ledger:
    """The ledger with all text made safe to show; all that a page, figure or terminal shows of it comes from here."""
    return replace(
        ledger,
        warnings=tuple(plain(warning) for warning in ledger.warnings),
        findings=tuple(replace(found, message=plain(found.message)) for found in ledger.findings),
    )
