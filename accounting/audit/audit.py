"""Whether a ledger adds up: conservation of device time, and records that contradict each other.

Per session and device, the time held and the time idle must add up to capacity times wall time. The two are computed
independently: *allocated* is the sum over the derived attempts (:mod:`accounting.cost.attempts`); *idle* is the
integral of ``max(0, capacity - held)``, by a sweep over the allocations as recorded. So whatever was held twice, was
held outside the session, or was derived wrongly does not cancel out but shows up as imbalance.

All of it is in device-seconds as they were held, also if a study declares what an hour of another GPU model counts as.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accounting.audit.balance import Balance, balances_of
from accounting.audit.checks import clocks_in, contradictions_in
from accounting.audit.impossible import impossible_in
from accounting.audit.meanings import Standing, Stands, standing_of
from accounting.audit.of_study import foreign_in
from accounting.audit.rules import older_rules_findings
from accounting.cost.at_rates import as_held
from accounting.cost.attempts import view_of
from accounting.cost.evidence import Evidence, gather
from accounting.cost.models import mixture
from accounting.cost.shares import ledger_h
from accounting.cost.values import CostView
from accounting.ledger.findings import Finding
from accounting.ledger.points import Points
from accounting.ledger.records import Record
from accounting.ledger.uncollected import uncollected
from accounting.study.facts import StudyFacts
from accounting.words.names import DeviceKind

__all__ = ["AuditReport", "Balance", "Finding", "audit", "audit_of"]

MAX_IMBALANCE = 0.01
"""The largest imbalance that is not reported, as a share of capacity × wall time."""


@dataclass(frozen=True)
class AuditReport:
    """The result of an audit; errors come first."""

    findings: tuple[Finding, ...]
    balances: tuple[Balance, ...]
    hours: dict[DeviceKind, float]
    """All device-hours on record by kind of device, as they were held, with every attempt and start-up counted once."""

    @property
    def standing(self) -> Standing:
        """Whether the verdict stands, and the findings that decide it."""
        return standing_of(self.findings)

    @property
    def stands(self) -> Stands:
        """Whether the verdict stands."""
        return self.standing.stands

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are fine."""
        return all(finding.severity != "error" for finding in self.findings)


def audit(
    records: Sequence[Record],
    findings: Sequence[Finding] = (),
    points: Points | None = None,
    study: StudyFacts | None = None,
) -> AuditReport:
    """Check a ledger's records, which are sorted by time; ``findings`` are those from reading it, ``study`` whose it is.

    All arguments come from :func:`accounting.ledger.store.read_ledger`, or, with ``points``, from ``read_lean``.
    """
    with uncollected():
        evidence = gather(records, points)
        clocks = clocks_in(records) if points is None else ()
        return audit_of(records, evidence, view_of(evidence), [*findings, *clocks], study)


def audit_of(
    records: Sequence[Record],
    evidence: Evidence,
    view: CostView,
    findings: Sequence[Finding] = (),
    study: StudyFacts | None = None,
) -> AuditReport:
    """The same for given evidence and the view that is shown; ``findings`` must include those about clocks."""
    with uncollected():
        balances = balances_of(evidence, view)
        found = [
            *findings, *older_rules_findings(records, view), *_models(view), *contradictions_in(records, evidence, view),
            *impossible_in(evidence), *(() if study is None else foreign_in(view, study)), *_imbalances(balances),
        ]  # fmt: skip
    return AuditReport(tuple(sorted(found, key=lambda finding: finding.severity)), balances, ledger_h(as_held(view)))


def _models(view: CostView) -> Iterator[Finding]:
    mixed = mixture(view)
    if mixed is not None:
        yield Finding("error", "models_mixed", f"{mixed}: hours of one are not those of another")


def _imbalances(balances: Sequence[Balance]) -> Iterator[Finding]:
    for balance in balances:
        where = f"device {balance.device} in session {balance.session}"
        if balance.over_allocated_s > MAX_IMBALANCE * balance.capacity_s:
            yield Finding(
                "error",
                "over_allocated",
                f"{where}: {balance.over_allocated_s:.1f} device-seconds were held beyond its capacity of "
                f"{balance.capacity:g}",
            )
        if balance.imbalance > MAX_IMBALANCE:
            yield Finding(
                "error",
                "imbalance",
                f"{where}: allocated {balance.allocated_s:.1f} + idle {balance.idle_s:.1f} is off capacity x time "
                f"{balance.capacity_s:.1f} device-seconds by {balance.imbalance:.1%}",
            )
        if balance.unattributed_s > 0:
            yield Finding(
                "warning",
                "unattributed",
                f"{where}: {balance.unattributed_s:.1f} device-seconds were held in which no attempt started: they are "
                "in the totals as overhead, and charged to no route",
            )
