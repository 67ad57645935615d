"""The cost report as plain text for a terminal of 80 columns, in sections that can be selected by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from accounting.cost.entries import Amount
from accounting.words.names import label_text, unit_text
from accounting.words.quantities import duration_text, macs_short
from reports.cost_report.energy_text import energy_lines
from reports.cost_report.layout import UNKNOWN, aligned, fixed, ratio, share, when, wrapped
from reports.cost_report.part_text import NO_ROUTE, part_text
from reports.cost_report.values import CostReport, NetworkCost, Partition
from reports.sentences.caveats import caveat_sentences

MONEY_DECIMALS = 2
"""The fewest decimals of an amount of money."""
NOTHING_H = 5e-7
"""Fewer hours than this are a rounding error of sums."""
POLICY_LINES = (
    "full: this target pays for all that led to it; free: the parent's training is not charged; amortised: shared work is "
    "divided among the targets. Charges of several networks overlap: they do not add up to the total."
)


def as_text(report: CostReport, shown: Sequence[str]) -> str:
    """The sections of :data:`SECTIONS` with these names, in this order."""
    return "\n\n".join("\n".join(SECTIONS[name](report)).rstrip() for name in shown)


def _total(report: CostReport) -> list[str]:
    hours = fixed(report.total.allocated_h)
    money = "" if report.total.money is None else f", {_money(report)(report.total.money)} {_currency(report)}"
    lines = wrapped(f"{report.study}: {hours(report.total.allocated_h)} {unit_text(report.unit)}{money}")
    for unit, amount in report.totals.items():
        if unit != report.unit:
            lines.append(
                f"besides, {fixed(amount.allocated_h)(amount.allocated_h)} {unit_text(unit)}{_besides(report, amount)}"
            )
    balances = "the same" if report.adds_up else f"{hours(report.audit_h)} {unit_text(report.unit)}"
    lines += wrapped(f"every attempt and start-up once; by the audit's balances {balances}")
    if not report.adds_up:
        lines += wrapped("The ledger does not add up: `prune-or-search audit` says what is wrong with it.")
    if report.num_running:
        lines += wrapped(f"{report.num_running} under way: counted until the last record of the ledger")
    lines += _declared(report)
    if report.labels:
        lines += wrapped("labels: " + ", ".join(f"{name} {text}" for name, text in sorted(report.labels.items())))
    lines += [line for warning in caveat_sentences(report.caveats) for line in wrapped(f"warning: {warning}")]
    return lines + _prices(report)


def _declared(report: CostReport) -> list[str]:
    """A note that the parent's cost is declared, and not included in any figure here."""
    if report.declared is None:
        return []
    said = report.declared
    return wrapped(f"declared, not spent here, and in no figure: the parent, {said.text} ({said.source})")


def _besides(report: CostReport, amount: Amount) -> str:
    return "" if amount.money is None else f", {_money(report)(amount.money)} {_currency(report)}"


def _prices(report: CostReport) -> list[str]:
    if report.prices is None:
        return wrapped("no prices: put a prices.yaml beside study.yaml, or give --prices FILE, to see money")
    used = {piece.device.name or piece.device.device_kind: piece.price for e in report.entries for piece in e.pieces}
    lines = wrapped(f"estimates at stated prices, no bill; from {report.prices.path}:")
    for name, price in sorted(used.items()):
        if price is not None:
            lines += wrapped(
                f"  {name}: {price.value:g} {price.currency} an hour ({price.date}; {price.source})", "    "
            )
    return lines


def _division(key: str) -> Callable[[CostReport], list[str]]:
    def lines(report: CostReport) -> list[str]:
        return [line for p in report.partitions if p.key == key for line in _table_of(report, p, key)]

    return lines


def _labels(report: CostReport) -> list[str]:
    found = [p for p in report.partitions if p.key.startswith("label:")]
    if not found:
        return wrapped("by label: no session has labels besides owner; set labels: {team: …} in the config")
    return "\n\n".join(
        "\n".join(_table_of(report, p, f"label {p.key.removeprefix('label:')}")) for p in found
    ).splitlines()


def _table_of(report: CostReport, partition: Partition, name: str) -> list[str]:
    """A table for each unit, each with its total."""
    lines: list[str] = []
    for unit, total in report.totals.items():
        parts = [part for part in partition.parts if part.unit == unit]
        rows = [_row(report, part_text(partition.key, part.value), part.amount, total) for part in parts]
        rows.append(_row(report, "total", total, total))
        header = [f"by {name}", unit_text(unit), "share", "productive", "overhead", "lost", *_money_head(report)]
        lines += [*([""] if lines else []), *aligned(header, rows)]
    return lines


def _row(report: CostReport, name: str, amount: Amount, total: Amount) -> list[str]:
    hours = fixed(total.allocated_h)
    parts = (amount.productive_h, amount.overhead_h, amount.lost_h)
    money = [] if amount.money is None else [_money(report)(amount.money)]
    return [name, hours(amount.allocated_h), share(amount.allocated_h, total.allocated_h), *map(hours, parts), *money]


def _plan(report: CostReport) -> list[str]:
    if not report.plans:
        return wrapped("planned against actual: no plan is on record; studies that older versions began have none")
    plan, first = report.plans[-1], report.plans[0]
    if plan.unit != report.unit:
        there, here = unit_text(plan.unit), unit_text(report.unit)
        return wrapped(
            f"planned against actual: the plan is in {there} and the study ran in {here}, which are not compared"
        )
    basis = f"at {plan.speed_macs_per_s / 1e9:.3g} GMACs/s" if plan.speed_macs_per_s else f"without hours: {plan.note}"
    lines = wrapped(f"planned against actual, by plan {plan.number} of {when(plan.t)} ({basis})")
    if plan.number != first.number:
        hours = "" if first.hours is None else f", {fixed(first.hours)(first.hours)} {unit_text(first.unit)}"
        lines += wrapped(
            f"the first plan, of {when(first.t)}: {first.num_jobs} jobs{hours}; this one was made when the study was "
            f"extended, with {fixed(plan.spent_hours)(plan.spent_hours)} spent by then"
        )
    total_h = report.total.allocated_h
    hours_of = fixed(max(total_h, plan.hours or 0.0))
    rows = [
        [
            label_text(step.route) if step.route else NO_ROUTE,
            step.phase.replace("_", " "),
            str(step.jobs_planned),
            str(step.jobs_done),
            UNKNOWN if step.planned_h is None else hours_of(step.planned_h),
            hours_of(step.actual_h),
            ratio(step.actual_h, step.planned_done_h),
        ]
        for step in report.steps
    ]
    done_h = None if plan.hours is None else sum(step.planned_done_h or 0.0 for step in report.steps)
    whole = ["total", "", str(sum(s.jobs_planned for s in report.steps)), str(sum(s.jobs_done for s in report.steps))]
    whole += [UNKNOWN if plan.hours is None else hours_of(plan.hours), hours_of(total_h), ratio(total_h, done_h)]
    header = ["route", "phase", "jobs", "done", "planned", "actual", "pace"]
    return [
        *lines,
        *aligned(header, [*rows, whole], 2),
        f"planned and actual in {unit_text(report.unit)}",
        "pace: actual over what was planned for as many jobs as are done",
    ]


def _forecast(report: CostReport) -> list[str]:
    found, total_h = report.forecast, report.total.allocated_h
    hours = fixed(total_h + (found.left_h or 0.0))

    def row(name: str, budget: str, spent_h: float, share: str, left_h: float | None) -> list[str]:
        end = [UNKNOWN, UNKNOWN] if left_h is None else [hours(left_h), hours(spent_h + left_h)]
        return [name, budget, hours(spent_h), share, *end]

    rows = [
        row(
            label_text(route.route),
            "no cap" if route.budget_h is None else hours(route.budget_h),
            route.spent_h,
            "" if route.budget_h is None else share(route.spent_h, route.budget_h),
            route.left_h,
        )
        for route in found.routes
    ]
    apart_h = max(0.0, total_h - sum(route.spent_h for route in found.routes))
    if apart_h > NOTHING_H or found.exports_left_h > 0:
        rows.append(
            row("exports and start-ups", "", apart_h, "", None if found.left_h is None else found.exports_left_h)
        )
    rows.append(row("total", "", total_h, "", found.left_h))
    header = [f"forecast, {unit_text(report.unit)}", "budget", "spent", "of it", "to finish", "at the end"]
    return [*aligned(header, rows), *_outlook(report)]


def _outlook(report: CostReport) -> list[str]:
    found = report.forecast
    if found.left_h is None:
        return wrapped(
            "what is left is not known: no plan with hours is on record; `prune-or-search plan` estimates it"
        )
    end_h = report.total.allocated_h + found.left_h
    money = (
        "" if report.price_h is None else f"; at the end {_money(report)(end_h * report.price_h)} {_currency(report)}"
    )
    if report.is_done:
        return wrapped(f"the study is finished: nothing is left{money}")
    pace = (
        "as planned, since no job was done since"
        if found.pace is None
        else f"at {found.pace:.2f} times the planned hours, as the jobs since the plan took"
    )
    on = f" on {report.num_devices:g} {report.unit.devices}"
    least = f"; at least {duration_text(found.left_h / report.hours_per_hour)}{on}" if report.num_devices else ""
    return wrapped(f"{found.jobs_left} jobs are left, {pace}{least}{money}")


def _use(report: CostReport) -> list[str]:
    use = report.use
    hours, money = fixed(use.capacity_h), use.money or {}
    parts = {"productive": use.productive_h, "overhead": use.overhead_h, "lost": use.lost_h, "idle": use.idle_h}
    rows = [
        [name, hours(h), share(h, use.capacity_h), *([_money(report)(money[name])] if money else [])]
        for name, h in parts.items()
    ]
    whole = [_money(report)(sum(money.values()))] if money else []
    rows.append(["capacity", hours(use.capacity_h), share(use.capacity_h, use.capacity_h), *whole])
    header = ["use of the devices", unit_text(report.unit), "share", *_money_head(report)]
    lines = [*aligned(header, rows)]
    if use.utilisation is not None:
        lines.append(f"held {use.utilisation:.1%} of the time, productive {use.productive_h / use.capacity_h:.1%}")
    return lines + wrapped("idle: the sessions had the devices and no attempt held them; it is in no other table")


def _networks(report: CostReport) -> list[str]:
    if not report.networks:
        return ["networks: none is delivered yet"]
    groups: dict[tuple[int, str], list[NetworkCost]] = {}
    for network in report.networks:
        groups.setdefault((network.target, network.label), []).append(network)
    hours = fixed(max(network.hours["full"] for network in report.networks))
    rows = []
    for (target, label), found in groups.items():
        means = [sum(n.hours[policy] for n in found) / len(found) for policy in ("full", "free", "amortised")]
        priced = [n.money for n in found if n.money is not None]
        money = [_money(report)(sum(priced) / len(priced))] if priced else []
        rows.append([label_text(label), macs_short(target), str(len(found)), *map(hours, means), *money])
    header = ["cost of a network", "target", "n", "full", "free", "amortised", *_money_head(report)]
    count, total = len(report.networks), report.total
    each = f"{fixed(total.allocated_h / count)(total.allocated_h / count)} {unit_text(report.unit)}"
    each += "" if total.money is None else f", {_money(report)(total.money / count)} {_currency(report)}"
    lines = aligned(header, rows)
    lines += wrapped(
        f"means over n replicates, in {unit_text(report.unit)}{', money of full' if total.money is not None else ''}"
    )
    lines += [*wrapped(POLICY_LINES), *_declared(report)]
    return [*lines, *wrapped(f"{count} networks delivered; the total is {each} for each")]


def _energy(report: CostReport) -> list[str]:
    return [line for text in energy_lines(report) for line in wrapped(text)]


SECTIONS: Mapping[str, Callable[[CostReport], list[str]]] = {
    "total": _total,
    "route": _division("route"),
    "phase": _division("phase"),
    "target": _division("target"),
    "replicate": _division("replicate"),
    "owner": _division("owner"),
    "labels": _labels,
    "plan": _plan,
    "forecast": _forecast,
    "use": _use,
    "networks": _networks,
    "energy": _energy,
}
"""The sections that can be shown, by name."""


def _currency(report: CostReport) -> str:
    return "" if report.prices is None else report.prices.currency


def _money_head(report: CostReport) -> list[str]:
    return [] if report.prices is None else [report.prices.currency]


def _money(report: CostReport) -> Callable[[float], str]:
    return fixed(report.total.money or 0.0, MONEY_DECIMALS)
