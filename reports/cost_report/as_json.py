"""The cost report as JSON; ``cost.schema.json`` in this folder describes it."""

from __future__ import annotations

from accounting.cost.entries import Amount
from accounting.cost.prices import Prices, Stated
from accounting.study.plans import StoredPlan
from accounting.words.json_values import Fields
from reports.cost_report.energy_text import from_energy
from reports.cost_report.part_text import part_text
from reports.cost_report.values import CostReport, Part
from reports.measure.planned import Step
from reports.sentences.caveats import caveat_sentences

SCHEMA_VERSION = 1


def as_json(report: CostReport) -> Fields:
    """The whole report except its entries, which ``--csv`` has."""
    return {
        "schema_version": SCHEMA_VERSION,
        "study": report.study,
        "unit": str(report.unit),
        "finished": report.is_done,
        "running_attempts": report.num_running,
        "labels": dict(report.labels),
        "prices": _prices(report.prices),
        "totals": [{"unit": str(unit), **_amount(amount)} for unit, amount in report.totals.items()],
        "audit": {"unit": str(report.unit), "allocated_hours": report.audit_h, "adds_up": report.adds_up},
        "by": {p.key: [_part(p.key, part) for part in p.parts] for p in report.partitions},
        "plans": [_plan(plan) for plan in report.plans],
        "planned_against_actual": [_step(step) for step in report.steps],
        "forecast": _forecast(report),
        "use": _use(report),
        "networks": [
            {
                "label": network.label,
                "target_macs": network.target,
                "replicate": network.replicate,
                "test_top1": network.test_top1,
                "hours": dict(network.hours),
                "money": network.money,
            }
            for network in report.networks
        ],
        "energy": _energy(report),
        "warnings": caveat_sentences(report.caveats),
        "declared_parent": None if report.declared is None else report.declared.as_dict(),
    }


def _amount(amount: Amount) -> Fields:
    return {
        "attempts": amount.attempts,
        "allocated_hours": amount.allocated_h,
        "productive_hours": amount.productive_h,
        "overhead_hours": amount.overhead_h,
        "lost_hours": amount.lost_h,
        "money": amount.money,
    }


def _part(key: str, part: Part) -> Fields:
    return {"value": part.value, "text": part_text(key, part.value), "unit": str(part.unit), **_amount(part.amount)}


def _stated(stated: Stated | None, key: str) -> Fields | None:
    if stated is None:
        return None
    money = {} if stated.currency is None else {"currency": stated.currency}
    return {key: stated.value, **money, "date": stated.date, "source": stated.source}


def _prices(prices: Prices | None) -> Fields | None:
    if prices is None:
        return None
    return {
        "file": prices.path,
        "currency": prices.currency,
        "devices": {name: _stated(stated, "price_per_hour") for name, stated in prices.devices.items()},
        "electricity": _stated(prices.electricity, "price_per_kwh"),
        "pue": _stated(prices.pue, "ratio"),
        "grid": _stated(prices.grid, "g_co2e_per_kwh"),
    }


def _plan(plan: StoredPlan) -> Fields:
    return {
        "number": plan.number,
        "session": plan.session,
        "t": plan.t,
        "unit": plan.unit,
        "jobs": plan.num_jobs,
        "hours": plan.hours,
        "spent_hours": plan.spent_hours,
        "speed_macs_per_s": plan.speed_macs_per_s,
        "budget_caps_it": plan.budget_caps_it,
        "note": plan.note,
    }


def _step(step: Step) -> Fields:
    return {
        "route": step.route or None,
        "phase": step.phase,
        "jobs_planned": step.jobs_planned,
        "jobs_done": step.jobs_done,
        "planned_hours": step.planned_h,
        "actual_hours": step.actual_h,
    }


def _forecast(report: CostReport) -> Fields:
    found = report.forecast
    end_h = None if found.left_h is None else report.total.allocated_h + found.left_h
    return {
        "routes": [
            {
                "route": route.route,
                "budget_hours": route.budget_h,
                "spent_hours": route.spent_h,
                "left_hours": route.left_h,
            }
            for route in found.routes
        ],
        "exports_left_hours": found.exports_left_h,
        "jobs_left": found.jobs_left,
        "pace": found.pace,
        "left_hours": found.left_h,
        "end_hours": end_h,
        "end_money": None if report.price_h is None or end_h is None else report.price_h * end_h,
    }


def _use(report: CostReport) -> Fields:
    use = report.use
    return {
        "capacity_hours": use.capacity_h,
        "held_hours": use.held_h,
        "productive_hours": use.productive_h,
        "overhead_hours": use.overhead_h,
        "lost_hours": use.lost_h,
        "idle_hours": use.idle_h,
        "utilisation": use.utilisation,
        "money": None if use.money is None else dict(use.money),
    }


def _energy(report: CostReport) -> Fields:
    follows = from_energy(report)
    return {
        "kwh": report.energy.kwh,
        "measured": [
            {"how": m.how, "kwh": m.kwh, "attempts": m.attempts, "hours": m.hours} for m in report.energy.measured
        ],
        "unmeasured_hours": report.energy.unmeasured_h,
        "site_kwh": follows.site_kwh,
        "electricity": follows.electricity,
        "co2e_g": follows.co2e_g,
    }
