"""Tables that may be added up have each device-hour of the ledger once, in its own unit, and say the ledger's total."""

from __future__ import annotations

import pytest

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter
from accounting.words.names import Role, RouteWords, learn
from reports.data.frames import load_frames
from reports.export.tables import build_tables, write_tables
from reports.figures import cost_by_phase
from reports.page.ledger_content import balance_table, totals_table, work_line
from reports.status.build import status
from reports.status.text import format_status

BASE_H = 3 * (3.42 + 0.42) + (0.54 + 0.90 + 1.44 + 3 * 0.42) + (6 * 0.72 + 0.1)
"""All of `fake_study`: three replicates of prune, search and scratch, and the failed attempt."""
GPU_H = BASE_H + 0.2 + 0.1 + 0.1
"""With an export, a start-up and a lost attempt."""
CPU_H = 0.5 + 0.1
"""A failed attempt on two cores, and a start-up."""
UNITS = {"cuda": "gpu_hours", "cpu_core": "cpu_core_hours"}
PARTS = ("productive", "overhead", "lost")


class Session:
    """A second session that writes what a study may hold beside finished work."""

    def __init__(self, ledger, begin):
        self.ledger, self.begin = ledger, begin

    def put(self, kind, t, **fields):
        self.ledger.append(kind, t=self.begin + t, **fields)

    def start(self, name, t, devices, phase="evaluate", allocation=None):
        self.put(
            Kind.ATTEMPT_STARTED, t, session="s2", attempt=name, job=f"job-{name}", route="prune", phase=phase,
            target=500_000, replicate=0, allocation=allocation, devices=devices, meter="wall_clock", network_macs=1, spec={},
        )  # fmt: skip
        self.put(Kind.WORK_BEGUN, t + 10, attempt=name, epoch=0)

    def end(self, name, t, ok):
        self.put(
            Kind.ATTEMPT_ENDED, t, attempt=name, status="ok" if ok else "failed", reason=None if ok else "no memory",
            outcome={"onnx_max_abs_error": 0.0} if ok else None, work_end_t=self.begin + t, measurement=None,
        )  # fmt: skip

    def hold(self, name, begin, end, devices):
        self.put(Kind.ALLOCATION_OPENED, begin, session="s2", allocation=name, devices=devices)
        self.put(Kind.ALLOCATION_CLOSED, end, session="s2", allocation=name)


@pytest.fixture
def mixed(make_study):
    """A study on a GPU that also has an export, start-ups, a lost attempt, and attempts that held CPU cores alone."""
    folder = make_study(cuda=True)
    begin = max(attempt.end_t for attempt in load_frames(folder).view.attempts) + 1000
    gpu, cores = {"GPU-1": 1.0}, {"node-1/cpu": 2.0}
    capacity = [
        {"device": "GPU-1", "device_kind": "cuda", "amount": 1.0, "name": "a GPU", "node": "node-1"},
        {"device": "node-1/cpu", "device_kind": "cpu_core", "amount": 2.0, "name": "a CPU", "node": "node-1"},
    ]
    with LedgerWriter(folder / "ledger", "s2", "driver", clock=lambda: begin + 2000) as ledger:
        s2 = Session(ledger, begin)
        s2.put(Kind.SESSION_OPENED, 0, session="s2", study="fake", capacity=capacity, environment={})
        s2.hold("A", 0, 720, gpu)
        s2.start("export", 0, gpu, phase="export", allocation="A")
        s2.end("export", 720, ok=True)
        s2.start("on-cores", 0, cores)
        s2.end("on-cores", 900, ok=False)
        s2.hold("empty", 800, 1160, gpu)
        s2.hold("empty-cores", 1000, 1180, cores)
        s2.start("lost", 1200, gpu, phase="finetune")
        s2.put(Kind.HEARTBEAT, 1560, attempt="lost")
        s2.put(Kind.SESSION_CLOSED, 1600, session="s2", reason="interrupted")
    return folder


@pytest.fixture
def unplaced(make_study):
    """A study with a start-up whose devices are not on record: it held what the session's attempts hold, one core."""
    folder = make_study(until_h=3)
    begin = max(attempt.end_t for attempt in load_frames(folder).view.attempts)
    with LedgerWriter(folder / "ledger", "s1", "driver", clock=lambda: begin + 900) as ledger:
        ledger.append(Kind.ALLOCATION_OPENED, t=begin + 10, session="s1", allocation="empty", devices={})
        ledger.append(Kind.ALLOCATION_CLOSED, t=begin + 730, session="s1", allocation="empty")
    return folder


@pytest.fixture(params=["fake", "full", "mixed", "unplaced"])
def any_frames(request):
    if request.param in ("mixed", "unplaced"):
        return load_frames(request.getfixturevalue(request.param))
    return request.getfixturevalue("frames" if request.param == "fake" else "full_frames")


def recorded_h(frames, kind):
    held = [h.allocated_s for h in (*frames.view.attempts, *frames.view.startups) if h.device_kind == kind]
    return sum(held) / 3600


@pytest.mark.parametrize(
    ("name", "says"), [("cost_by_phase", "route"), ("attempts", "attempt"), ("device_balances", "session")]
)
def test_rows_are_the_total_and_the_total_is_the_ledgers(name, says, any_frames):
    table = build_tables(any_frames, [])[name]
    for kind, unit in UNITS.items():
        mine = table[table["unit"] == unit]
        is_total = mine[says] == "total"
        assert is_total.sum() == (1 if len(mine) else 0)
        rows, total = mine[~is_total], mine[is_total]
        assert total["allocated_device_hours"].sum() == pytest.approx(recorded_h(any_frames, kind))
        for part in (*PARTS, "allocated"):
            assert rows[f"{part}_device_hours"].sum() == pytest.approx(total[f"{part}_device_hours"].sum())
        split = sum(total[f"{part}_device_hours"].sum() for part in PARTS)
        assert split == pytest.approx(total["allocated_device_hours"].sum())


def test_the_mixed_study_has_what_was_put_into_it(mixed):
    tables = build_tables(load_frames(mixed), [])
    for name, says in (("cost_by_phase", "route"), ("attempts", "attempt"), ("device_balances", "session")):
        total = tables[name][tables[name][says] == "total"].set_index("unit")["allocated_device_hours"]
        assert total.to_dict() == pytest.approx({"gpu_hours": GPU_H, "cpu_core_hours": CPU_H})
    by_phase = tables["cost_by_phase"]
    assert by_phase[by_phase["phase"] == "export"]["allocated_device_hours"].tolist() == pytest.approx([0.2])
    empty = by_phase[by_phase["phase"] == "start_up"].set_index("unit")["overhead_device_hours"]
    assert empty.to_dict() == pytest.approx({"gpu_hours": 0.1, "cpu_core_hours": 0.1})


@pytest.mark.parametrize("name", ["attempts", "device_balances"])
def test_hours_on_cores_are_never_under_a_header_of_gpu_hours(name, mixed):
    table = build_tables(load_frames(mixed), [])[name]
    cores = table[table["unit"] == "cpu_core_hours"]
    assert len(cores) >= 2
    headed = [column for column in table.columns if column.endswith("_gpu_hours")]
    assert len(headed) >= 4
    assert cores[headed].isna().all().all()
    assert not [column for column in table.columns if column.endswith("_cpu_core_hours")]
    gpus = table[table["unit"] == "gpu_hours"]
    assert gpus["allocated_gpu_hours"].tolist() == gpus["allocated_device_hours"].tolist()


def test_what_a_target_is_charged_has_no_exports_start_ups_or_other_devices(mixed):
    charged = build_tables(load_frames(mixed), [])["charged_by_phase"]
    assert "export" not in set(charged["phase"])
    shared = 3 * 3.42 + (0.54 + 0.90 + 1.44)
    assert charged["allocated_gpu_hours"].sum() == pytest.approx(
        BASE_H + shared + 0.1
    )  # shared work at both targets; lost


def _with_total(table):
    return [*table.rows, table.total]


def test_the_page_adds_up(mixed):
    frames = load_frames(mixed)
    said = {row[0]: float(row[1]) for row in totals_table(frames).rows}
    assert said["allocated"] == pytest.approx(GPU_H, rel=0.01)
    parts = [hours for name, hours in said.items() if name.startswith(PARTS)]
    assert sum(parts) == pytest.approx(GPU_H, rel=0.01)
    assert said["of the allocated: exports (charged to no route)"] == 0.2
    assert said["of the allocated: start-ups in which no attempt began (charged to no route)"] == 0.1
    assert "attempts on other devices held 0.600 CPU core-hours: in no cost here" in work_line(frames)
    rows = _with_total(balance_table(frames))
    assert [row[0] for row in rows] == ["s1", "s2", "total"]
    assert float(rows[-1][4]) == pytest.approx(GPU_H, rel=0.01)


def test_any_route_that_measures_is_charged_to_no_network(make_study):
    learn({"probe_of_this_test": RouteWords(Role.MEASURES, "probe")})

    def probe(line, r, targets):
        line.attempt(f"probe-r{r}", "probe_of_this_test", "evaluate", None, r, 0.25, macs=1, outcome={})

    frames = load_frames(make_study(more={"probe_of_this_test": probe}))
    said = {row[0]: float(row[1]) for row in totals_table(frames).rows}
    assert said["of the allocated: probe of the parent (charged to no network)"] == 0.75
    assert "probe_of_this_test" not in set(cost_by_phase.data(frames)["route"])


def test_a_start_up_whose_devices_are_not_on_record_is_in_every_table(unplaced):
    frames = load_frames(unplaced)
    tables = build_tables(frames, [])
    attempts, balances = tables["attempts"], tables["device_balances"]
    assert attempts[attempts["phase"] == "start_up"]["overhead_device_hours"].tolist() == pytest.approx([0.2])
    without = balances[balances["device"].isna() & (balances["session"] != "total")]
    assert without["unattributed_device_hours"].tolist() == pytest.approx([0.2])
    rows = _with_total(balance_table(frames))
    assert rows[-2][:2] == ["s1", "not on record"]
    assert rows[-2][7] == "0.200"
    assert float(rows[-1][4]) == pytest.approx(recorded_h(frames, "cpu_core"), rel=0.01)


@pytest.mark.parametrize(("options", "num_rows"), [({"routes": ()}, 0), ({"until_h": 0}, 4)])
def test_a_study_that_has_just_begun_has_tables_too(options, num_rows, make_study, tmp_path):
    tables = build_tables(load_frames(make_study(**options)), [])
    write_tables(tables, tmp_path / "tables")
    assert len(tables["attempts"]) == num_rows


def test_status_adds_up(mixed):
    state = status(mixed)
    assert state.uncharged_h == pytest.approx({"exports": 0.2, "start_ups": 0.1})
    assert state.allocated_h == pytest.approx({"gpu_hours": GPU_H, "cpu_core_hours": CPU_H})
    spent = sum(row.spent_h for row in state.spend)
    assert spent + sum(state.uncharged_h.values()) == pytest.approx(GPU_H)
    lines = [line.split("  ") for line in format_status(state).splitlines()]
    said = {line[0]: [cell.strip() for cell in line[1:] if cell.strip()] for line in lines}
    assert said["exports (no route)"] == ["0.200"]
    assert said["start-ups without an attempt (no route)"] == ["0.100"]
    assert said["total"] == ["20.5"]
    assert said["besides, in CPU core-hours"] == ["0.600"]
