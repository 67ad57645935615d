"""In the table that may be added up, the rows, the total and the ledger agree."""

from dataclasses import replace

import pandas as pd
import pytest

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter
from reports.data.frames import load_frames
from reports.export.tables import build_tables
from reports.measure.phase_costs import phase_costs
from reports.page.ledger_content import totals_table

HOURS = [f"{part}_device_hours" for part in ("productive", "overhead", "lost", "allocated")]


def spent_h(view, kind):
    attempts = sum(attempt.allocated_s for attempt in view.attempts if attempt.device_kind == kind)
    return (attempts + sum(start.allocated_s for start in view.startups if start.device_kind == kind)) / 3600


def check_adds_up(view):
    table = phase_costs(view)
    for unit, kind in (("cpu_core_hours", "cpu_core"), ("gpu_hours", "cuda")):
        mine = table[table["unit"] == unit]
        rows, total = mine[mine["route"] != "total"], mine[mine["route"] == "total"]
        assert rows["allocated_device_hours"].sum() == pytest.approx(spent_h(view, kind))
        assert len(total) == (1 if len(rows) else 0)
        for column in HOURS:
            assert total[column].sum() == pytest.approx(rows[column].sum())
        parts = sum(rows[column].sum() for column in HOURS[:3])
        assert parts == pytest.approx(rows["allocated_device_hours"].sum())
    return table


def test_shared_work_is_there_once_and_without_a_target(frames):
    table = check_adds_up(frames.view)
    pretraining = table[table["phase"] == "pretrain"]
    assert len(pretraining) == 3  # one per replicate, although there are two targets
    assert pretraining["target"].isna().all()


def test_a_study_with_every_route_adds_up(full_frames):
    check_adds_up(full_frames.view)


def test_failed_work_on_gpus_adds_up(make_study):
    check_adds_up(load_frames(make_study(cuda=True)).view)


def test_a_start_up_without_an_attempt_is_overhead_of_no_route(make_study):
    folder = make_study(until_h=3)
    last_t = max(attempt.end_t for attempt in load_frames(folder).view.attempts)
    with LedgerWriter(folder / "ledger", "s1", "driver", clock=lambda: last_t + 1000) as ledger:
        devices = {"host/cpu": 2.0}
        ledger.append(Kind.ALLOCATION_OPENED, t=last_t + 100, session="s1", allocation="empty", devices=devices)
        ledger.append(Kind.ALLOCATION_CLOSED, t=last_t + 460, session="s1", allocation="empty")
    frames = load_frames(folder)
    table = check_adds_up(frames.view)
    start = table[table["phase"] == "start_up"]
    assert start["overhead_device_hours"].tolist() == pytest.approx([2 * 360 / 3600])
    said = {row[0]: row[1] for row in totals_table(frames).rows}
    assert said["of the allocated: start-ups in which no attempt began (charged to no route)"] == "0.200"


def test_the_table_of_a_report_is_this_one(frames):
    tables = build_tables(frames, [])
    assert tables["cost_by_phase"].equals(phase_costs(frames.view))
    charged = tables["charged_by_phase"]
    assert charged["allocated_cpu_core_hours"].sum() > spent_h(frames.view, "cpu_core")


def test_hours_of_another_kind_of_device_are_not_under_the_unit_of_the_study(frames):
    first, *others = frames.view.attempts
    view = replace(frames.view, attempts=(replace(first, device_kind="cuda"), *others))
    table = build_tables(replace(frames, view=view), [])["attempts"]
    assert pd.isna(table["allocated_cpu_core_hours"][0])
    assert table["allocated_device_hours"][0] > 0
    assert table["unit"][0] == "gpu_hours"
