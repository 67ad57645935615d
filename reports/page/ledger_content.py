"""The ledger's totals on the page: what was allocated, productive and idle, and whether it adds up."""

from __future__ import annotations

from accounting.audit.balance import in_reference
from accounting.cost.shares import exports_h, ledger_h, startups_h
from accounting.ledger.records import Status
from accounting.words.names import Role, Unit, label_text, routes_of, unit_text
from accounting.words.quantities import HOUR_S
from reports.data.frames import Frames
from reports.data.repeated import repeated_work
from reports.measure.phase_costs import TOTAL
from reports.page.page_table import PageTable
from reports.sentences.repeated import repeated_sentence
from reports.words.wording import number


def totals_table(frames: Frames) -> PageTable:
    """One row per kind of time, in device-hours of the study's unit and as a share of the allocated time."""
    view = frames.view
    attempts = [attempt for attempt in view.attempts if attempt.device_kind == view.device_kind]
    empty = startups_h(view) * HOUR_S
    allocated = ledger_h(view).get(view.device_kind, 0.0) * HOUR_S
    parts = {
        "allocated": allocated,
        "productive": sum(attempt.productive_s for attempt in attempts),
        "overhead (start-up, teardown, waiting)": sum(attempt.overhead_s for attempt in attempts) + empty,
        "lost (repeated or thrown away)": sum(attempt.lost_s for attempt in attempts),
    }
    rows = [[name, number(seconds / HOUR_S), _share(seconds, allocated)] for name, seconds in parts.items()]
    apart = {
        **{
            f"{label_text(route)} of the parent (charged to no network)": sum(
                attempt.allocated_s for attempt in attempts if attempt.route == route
            )
            for route in routes_of(Role.MEASURES)
        },
        "exports (charged to no route)": exports_h(view) * HOUR_S,
        "start-ups in which no attempt began (charged to no route)": empty,
    }
    rows += [
        [f"of the allocated: {name}", number(seconds / HOUR_S), _share(seconds, allocated)]
        for name, seconds in apart.items()
        if seconds > 0
    ]
    balances = [b for b in in_reference(frames.audit.balances, view) if b.device_kind == view.device_kind]
    capacity = sum(balance.capacity_s for balance in balances)
    idle = sum(balance.idle_s for balance in balances)
    rows.append(
        ["idle (capacity that no attempt held)", number(idle / HOUR_S), f"{_share(idle, capacity)} of capacity"]
    )
    uncertain = sum(attempt.uncertainty_s for attempt in attempts)
    uncertain += sum(start.uncertainty_s for start in view.startups if start.device_kind == view.device_kind)
    label = "uncertain (after the last sign of life, or between two looks)"
    rows.append([label, number(uncertain / HOUR_S), _share(uncertain, allocated)])
    return PageTable(["", unit_text(frames.unit), "share of allocated"], rows, text_columns=(0,))


def work_line(frames: Frames) -> str:
    """The number of jobs and attempts in the totals, and the driver's own work, which holds no device."""
    view = frames.view
    done = sum(job.status is Status.OK for job in view.jobs)
    driver = sum(work.duration_s for work in view.driver_work)
    other = "".join(
        f" Besides, attempts on other devices held {number(hours)} {Unit.of(kind).text}: in no cost here, and in "
        "tables/cost_by_phase under their own unit."
        for kind, hours in ledger_h(view).items()
        if kind != view.device_kind
    )
    return (
        f"{done} of {len(view.jobs)} jobs done, in {len(view.attempts)} attempts. Work of the driver (fitting the "
        f"predictor, evolution): {number(driver)} s; it holds no device and is not part of the costs.{other}"
    )


def balance_table(frames: Frames) -> PageTable:
    """One row per session and device, and a total."""
    unit = unit_text(frames.unit)
    columns = ("capacity_s", "allocated_s", "idle_s", "productive_s", "overhead_s", "lost_s")
    view = frames.view
    balances = [b for b in in_reference(frames.audit.balances, view) if b.device_kind == view.device_kind]
    rows = [
        [balance.session, balance.device, number(balance.wall_s / HOUR_S)]
        + [number(getattr(balance, column) / HOUR_S) for column in columns]
        for balance in balances
    ]
    totals = {column: sum(getattr(balance, column) for balance in balances) for column in columns}
    for start in frames.view.startups:
        if not start.devices and start.device_kind == frames.view.device_kind:
            held = dict.fromkeys(columns, 0.0) | {"allocated_s": start.allocated_s, "overhead_s": start.allocated_s}
            rows.append([start.session, "not on record", "", *(number(value / HOUR_S) for value in held.values())])
            totals = {column: totals[column] + held[column] for column in columns}
    total = [TOTAL, "", "", *(number(total / HOUR_S) for total in totals.values())] if len(rows) > 1 else []
    headers = ["session", "device", "wall (h)", *(f"{column[:-2]} ({unit})" for column in columns)]
    return PageTable(headers, rows, text_columns=(0, 1), total=total)


def audit_lines(frames: Frames) -> list[str]:
    """The audit's result, its findings (one per line), and the work repeated because of damaged files."""
    report = frames.audit
    result = "The ledger adds up." if report.ok else "The ledger does not add up; see the findings."
    repeated = map(repeated_sentence, repeated_work(frames.view, frames.ledger.records))
    return [result, *(f"{f.severity}: {f.message}" for f in report.findings), *repeated]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole > 0 else "–"
