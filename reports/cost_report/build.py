"""Build the cost report of a study's folder: read it, price it, and check that it adds up to the audit's total."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from accounting.audit.audit import audit_of
from accounting.audit.balance import Balance, in_reference
from accounting.cost.entries import Entry, entries_of, whose_sessions
from accounting.cost.equivalence import rates_of
from accounting.cost.forecast import forecast, is_done
from accounting.cost.prices import Prices, read_prices
from accounting.cost.shares import HEADLINE_POLICY, POLICIES
from accounting.cost.values import CostView
from accounting.ledger.records import Status
from accounting.study.facts import StudyFacts
from accounting.study.folder import StudyFolder
from accounting.study.plans import read_plans
from accounting.words.names import Unit
from accounting.words.quantities import HOUR_S
from reports.cost_report.divide import divide, totals
from reports.cost_report.values import CostReport, EnergyUse, Measured, NetworkCost, Use
from reports.data.networks import delivered_networks
from reports.data.source import load_source
from reports.measure.planned import planned_steps

PARTS = ("productive", "overhead", "lost", "idle")


def cost_report(folder: Path, prices_file: Path | None = None) -> CostReport:
    """The report of the study in ``folder``, priced by ``prices_file``, or else by the study's ``prices.yaml``, if any.

    Raises:
        NotAStudy, LedgerError: as in :func:`reports.data.source.load_source`.
        NotAPlan: a stored plan cannot be read.
        BadPrices: the prices cannot be used, or have none for a device that was held or idle.

    """
    source = load_source(folder)
    paths, view = StudyFolder(folder), source.view
    found = prices_file or (paths.prices if paths.prices.exists() else None)
    prices = None if found is None else read_prices(found)
    entries = entries_of(view, source.ledger.records, prices)
    checked = audit_of(source.ledger.records, source.evidence, view, source.ledger.findings, source.info)
    held = [balance for balance in checked.balances if balance.device_kind == view.device_kind]
    own = in_reference(held, view)
    audit_h = _held_h(own, view)
    whole = totals(entries, view.unit, priced=prices is not None)
    plans = read_plans(paths)
    latest = plans[-1] if plans and plans[-1].unit == view.unit else None
    whose = whose_sessions(source.ledger.records)
    last = view.sessions[-1] if view.sessions else None
    devices = [d for d in last.capacity if d.device_kind == view.device_kind] if last else []
    return CostReport(
        study=source.info.name,
        unit=view.unit,
        prices=prices,
        entries=entries,
        totals=whole,
        audit_h=audit_h,
        adds_up=checked.ok and math.isclose(audit_h, whole[view.unit].allocated_h, rel_tol=1e-9, abs_tol=1e-9),
        partitions=divide(entries, view.unit),
        plans=plans,
        steps=planned_steps(latest, view),
        forecast=forecast(latest, view, source.info.budget_h, source.info.replicates),
        is_done=is_done(view),
        num_running=sum(attempt.status is Status.RUNNING for attempt in view.attempts),
        num_devices=sum(d.amount for d in devices),
        hours_per_hour=sum(d.amount * rates_of([d], view.equivalence.rates).get(d.device, 1.0) for d in devices),
        use=_use(own, held, view, prices),
        networks=_networks(view, source.info, entries, prices),
        energy=_energy(entries, view.unit),
        labels=whose[last.session].labels if last and last.session in whose else {},
        caveats=source.caveats,
        declared=source.info.declared_parent,
    )


def _held_h(balances: Sequence[Balance], view: CostView) -> float:
    """Device-hours held in the study's unit by the audit's balances, plus start-ups whose devices are not on record."""
    unplaced_s = sum(s.allocated_s for s in view.startups if not s.devices and s.device_kind == view.device_kind)
    return (sum(balance.allocated_s for balance in balances) + unplaced_s) / HOUR_S


def _use(balances: Sequence[Balance], held: Sequence[Balance], view: CostView, prices: Prices | None) -> Use:
    """Where the time of the study's devices went, from the audit's balances, which include idle time.

    Money is for the hours as they were ``held``, at each device's own price.
    """
    hours = {part: sum(getattr(balance, f"{part}_s") for balance in balances) / HOUR_S for part in PARTS}
    money = None
    if prices is not None:
        devices = {(session.session, d.device): d for session in view.sessions for d in session.capacity}
        per_h = {
            key: prices.of(device).value for key, device in devices.items() if device.device_kind == view.device_kind
        }
        money = {
            part: sum(getattr(b, f"{part}_s") / HOUR_S * per_h[b.session, b.device] for b in held) for part in PARTS
        }
    return Use(
        capacity_h=sum(balance.capacity_s for balance in balances) / HOUR_S,
        held_h=sum(balance.allocated_s for balance in balances) / HOUR_S,
        productive_h=hours["productive"],
        overhead_h=hours["overhead"],
        lost_h=hours["lost"],
        idle_h=hours["idle"],
        money=money,
    )


def _networks(
    view: CostView, info: StudyFacts, entries: Sequence[Entry], prices: Prices | None
) -> tuple[NetworkCost, ...]:
    """What each delivered network is charged; its money is at the prices of the devices that its own attempts held."""
    networks = delivered_networks(view, info)
    money = None if prices is None else _money_of(view, info, entries)
    return tuple(
        NetworkCost(
            label=network.label,
            target=network.target,
            replicate=network.replicate,
            test_top1=network.test_top1,
            hours={policy: network.cost_h[policy] for policy in POLICIES},
            money=None if money is None else money[network.job],
        )
        for network in networks
    )


def _money_of(view: CostView, info: StudyFacts, entries: Sequence[Entry]) -> dict[str, float]:
    """Money by the job that delivered a network, from the charge rules applied to money instead of device-seconds."""
    money = {entry.attempt.attempt: entry.amount.money or 0.0 for entry in entries if entry.attempt is not None}
    priced = replace(
        view, attempts=tuple(replace(a, allocated_s=money[a.attempt] * HOUR_S) for a in view.attempts)
    )  # fmt: skip
    return {network.job: network.cost_h[HEADLINE_POLICY] for network in delivered_networks(priced, info)}


def _energy(entries: Sequence[Entry], unit: Unit) -> EnergyUse:
    """The energy that was measured, by way of measuring, and the hours for which none was."""
    by_how: dict[str, list[Entry]] = defaultdict(list)
    unmeasured_h = 0.0
    for entry in entries:
        if entry.energy is not None:
            by_how[entry.energy.how].append(entry)
        elif entry.unit == unit:
            unmeasured_h += entry.amount.allocated_h
    measured = (
        Measured(
            how,
            sum(entry.energy.kwh for entry in found if entry.energy is not None),
            len(found),
            sum(entry.amount.allocated_h for entry in found if entry.unit == unit),
        )
        for how, found in sorted(by_how.items())
    )
    return EnergyUse(tuple(measured), unmeasured_h)
