"""A study folder as typed values and as data frames, for figures and tables.

Hours are *device-hours* (device-seconds / 3600) in the unit of the ledger's devices (``Frames.unit``: ``gpu_hours`` or
``cpu_core_hours``). Their columns end in ``_h``; exported tables have the unit's name in the header instead
(:mod:`reports.export.tables`). If the study declares what hours on another GPU model count as, all are in those of its
reference model (:mod:`accounting.cost.equivalence`); only the findings of the audit are in hours as they were held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from accounting.audit.audit import AuditReport, audit_of
from accounting.audit.balance import in_reference
from accounting.audit.rules import rules_of_sessions
from accounting.cost.attempts import CostView
from accounting.cost.evidence import Evidence
from accounting.ledger.records import Kind
from accounting.ledger.store import Ledger
from accounting.ledger.undelivered import Undelivered
from accounting.study.facts import StudyDocument, StudyFacts
from reports.data.caveats import Caveats, caveats_of
from reports.data.extensions import History, history_of
from reports.data.levels import num_classes
from reports.data.networks import Network, delivered_networks
from reports.data.source import load_source
from reports.data.undelivered import undelivered_networks

if TYPE_CHECKING:  # an answer needs no pandas
    import pandas as pd

ALLOCATIONS = frozenset({str(Kind.ALLOCATION_OPENED), str(Kind.ALLOCATION_CLOSED)})


@dataclass(frozen=True, eq=False)
class Frames:
    """Everything that a report shows about one study.

    ``view`` and ``delivered`` hold the facts as typed values, for the statistics. The data frames hold the same facts
    for figures and tables; each is made on first use. All frames have their columns even if they have no rows.
    """

    folder: Path
    info: StudyFacts
    document: StudyDocument
    """The whole of ``study.yaml``: the resolved config and the facts recorded with it."""
    environment: dict[str, object]
    unit: str
    view: CostView
    evidence: Evidence
    ledger: Ledger
    delivered: tuple[Network, ...]
    num_classes: int | None
    history: History
    cost_rules: dict[str, int]
    """The version of the cost rules under which each session ran, oldest session first."""
    undelivered: tuple[Undelivered, ...]
    """The planned networks that were not delivered because the budget was spent."""

    @cached_property
    def caveats(self) -> Caveats:
        """What every reader should know first."""
        return caveats_of(self.info, self.ledger, self.view)

    @cached_property
    def audit(self) -> AuditReport:
        """Whether the ledger adds up."""
        return audit_of(self.ledger.records, self.evidence, self.view, self.ledger.findings, self.info)

    def audited(self) -> Frames:
        """The same with the audit done, and without the records of allocations, which nothing else needs."""
        kept = tuple(record for record in self.ledger.records if record["kind"] not in ALLOCATIONS)
        found = replace(self, ledger=replace(self.ledger, records=kept), evidence=Evidence())
        vars(found)["audit"] = self.audit
        return found

    @property
    def stopped(self) -> set[tuple[str, int]]:
        """Routes and replicates of jobs that the current budget did not pay for."""
        return {
            (record["route"], record["replicate"])
            for record in self.ledger.records
            if record["kind"] == Kind.JOB_STOPPED and record["budget_h"] == self.info.budget_h.get(record["route"])
        }

    @cached_property
    def attempts(self) -> pd.DataFrame:
        """One row per attempt."""
        from reports.data import tables

        return tables.attempts(self.view)

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """One row per job."""
        from reports.data import tables

        return tables.jobs(self.view)

    @cached_property
    def networks(self) -> pd.DataFrame:
        """One row per delivered network."""
        from reports.data import tables

        return tables.networks(self.delivered)

    @cached_property
    def progress(self) -> pd.DataFrame:
        """One row per finished epoch of an attempt."""
        from reports.data import tables

        return tables.progress(self.view)

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """One row per session and device."""
        from reports.data import tables

        return tables.sessions(self.view)

    @cached_property
    def driver_work(self) -> pd.DataFrame:
        """One row per piece of work done in the driver."""
        from reports.data import tables

        return tables.driver_work(self.view)

    @cached_property
    def balances(self) -> pd.DataFrame:
        """One row per session and device."""
        from reports.data import tables

        return tables.balances(in_reference(self.audit.balances, self.view))


def load_frames(folder: Path) -> Frames:
    """Read a study folder; raises what :func:`reports.data.source.load_source` raises."""
    source = load_source(folder)
    view, info = source.view, source.info
    environment = source.document.facts.get("environment")
    return Frames(
        folder=Path(folder),
        info=info,
        document=source.document,
        environment=environment if isinstance(environment, dict) else {},
        unit=view.unit,
        view=view,
        evidence=source.evidence,
        ledger=source.ledger,
        delivered=delivered_networks(view, info),
        num_classes=num_classes(info.num_classes, view),
        history=history_of(source.ledger.records),
        cost_rules=rules_of_sessions(source.ledger.records),
        undelivered=undelivered_networks(source.ledger.records),
    )
