"""A cost report adds up: each division to the totals, these to the ledger and the audit, money to hours × price."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest
from fake_study import TARGETS, build_study

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.cost.shares import ledger_h
from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.study.folder import StudyFolder
from accounting.study.plans import PlannedStep, StoredPlan, store_plan
from accounting.words.names import Unit
from reports.cost_report import as_json as as_json_module
from reports.cost_report.as_json import as_json
from reports.cost_report.build import cost_report
from reports.cost_report.divide import KEYS
from reports.cost_report.focus import COLUMNS, OWN_COLUMNS, as_csv
from reports.cost_report.layout import WIDTH
from reports.cost_report.part_text import part_text
from reports.cost_report.text import SECTIONS, as_text
from reports.data.frames import load_frames
from reports.measure.phase_costs import phase_costs

SCHEMA = json.loads(Path(as_json_module.__file__).with_name("cost.schema.json").read_text(encoding="utf-8"))
PRICE = 0.25
PRICES = f"""\
devices:
  cpu_core: {{price_per_hour: {PRICE}, currency: EUR, date: 2026-11-26, source: a test}}
  cuda: {{price_per_hour: 2.5, currency: EUR, date: 2026-11-26, source: a test}}
electricity: {{price_per_kwh: 0.2, currency: EUR, date: 2026-11-26, source: a test}}
pue: {{ratio: 1.5, date: 2026-11-26, source: a test}}
grid: {{g_co2e_per_kwh: 300, date: 2026-11-26, source: a test}}
"""
PRUNE_H, SEARCH_H, SCRATCH_H = 3 * (3.42 + 0.42), 0.54 + 0.90 + 1.44 + 3 * 0.42, 6 * 0.72 + 0.1
TOTAL_H = PRUNE_H + SEARCH_H + SCRATCH_H


def second_session(folder, *, device="node-1/cpu", kind="cpu_core", energy_j=None, owner="mia"):
    """Write another person's session: a start-up, a lost attempt, two attempts that succeed, and one under way."""
    begin = max(record["t"] for record in read_ledger(folder / "ledger").records) + 1000
    capacity = [{"device": device, "device_kind": kind, "amount": 2.0, "name": "Test device", "node": "node-1"}]
    with LedgerWriter(folder / "ledger", "s2", "driver", clock=lambda: begin) as ledger:

        def put(record, t, **fields):
            ledger.append(record, t=begin + t, **fields)

        def start(name, t, phase, devices, job=None):
            put(
                Kind.ATTEMPT_STARTED, t, session="s2", attempt=name, job=job or f"job-{name}", route="prune", phase=phase,
                target=500_000, replicate=0, allocation=None, devices=devices, meter="nvml", network_macs=1, spec={},
            )  # fmt: skip
            put(Kind.WORK_BEGUN, t + 36, attempt=name, epoch=0)

        def end(name, t):
            measurement = {"meter": "nvml", "energy_j": energy_j, "flags": []}
            put(
                Kind.ATTEMPT_ENDED, t, attempt=name, status="ok", reason=None, outcome={}, work_end_t=begin + t,
                measurement=measurement,
            )  # fmt: skip

        labels = {"team": "speech", "owner": owner}
        put(Kind.SESSION_OPENED, 0, session="s2", study="fake", capacity=capacity, environment={}, labels=labels)
        put(Kind.ALLOCATION_OPENED, 0, session="s2", allocation="empty", devices={device: 1.0})
        put(Kind.ALLOCATION_CLOSED, 360, session="s2", allocation="empty")
        start("whole", 0, "finetune", {device: 1.0})
        end("whole", 720)
        start("shared", 800, "export", {device: 0.5})
        end("shared", 1520)
        start("lost", 1600, "finetune", {device: 1.0})
        put(Kind.HEARTBEAT, 1960, attempt="lost")
        put(Kind.ATTEMPT_LOST, 1970, session="s2", job="job-lost", reason="killed")
        start("again", 2000, "finetune", {device: 1.0}, job="job-lost")
        put(Kind.HEARTBEAT, 2360, attempt="again")
    return folder


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory):
    """Studies by name, each with a prices.yaml: finished, cut off halfway, of two people, and on a GPU."""
    found = {
        "done": build_study(tmp_path_factory.mktemp("done")),
        "cut": build_study(tmp_path_factory.mktemp("cut"), until_h=2.5),
        "begun": build_study(tmp_path_factory.mktemp("begun"), until_h=0),
        "two people": second_session(build_study(tmp_path_factory.mktemp("two"))),
        "gpu": second_session(
            build_study(tmp_path_factory.mktemp("gpu"), cuda=True), device="GPU-1", kind="cuda", energy_j=3.6e6
        ),
        "mixed": second_session(
            build_study(tmp_path_factory.mktemp("mixed")), device="GPU-1", kind="cuda", energy_j=3.6e6
        ),
    }
    for folder in found.values():
        (folder / "prices.yaml").write_text(PRICES)
    return found


@pytest.fixture(scope="module")
def reports(ledgers):
    return {name: cost_report(folder) for name, folder in ledgers.items()}


NAMES = ("done", "cut", "begun", "two people", "gpu", "mixed")


@pytest.mark.parametrize("name", NAMES)
def test_totals_are_the_ledgers_and_the_audits(name, ledgers, reports):
    records = read_ledger(ledgers[name] / "ledger").records
    report, view = reports[name], derive(records)
    held = ledger_h(view)
    for unit, amount in report.totals.items():
        assert amount.allocated_h == pytest.approx(held.get(unit.device_kind, 0.0))
        assert amount.productive_h + amount.overhead_h + amount.lost_h == pytest.approx(amount.allocated_h)
    balances = [b for b in audit(records).balances if b.device_kind == view.device_kind]
    assert report.total.allocated_h == pytest.approx(sum(b.allocated_s for b in balances) / 3600)
    assert report.audit_h == pytest.approx(report.total.allocated_h)
    assert report.adds_up


@pytest.mark.parametrize("name", NAMES)
def test_every_division_adds_up_to_the_totals_in_hours_and_money(name, reports):
    report = reports[name]
    for partition in report.partitions:
        for unit, total in report.totals.items():
            parts = [part.amount for part in partition.parts if part.unit == unit]
            assert sum(part.attempts for part in parts) == total.attempts
            for figure in ("allocated_h", "productive_h", "overhead_h", "lost_h", "money"):
                assert sum(getattr(part, figure) for part in parts) == pytest.approx(getattr(total, figure)), (
                    partition.key, unit, figure,
                )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_of_a_report_say_the_same(name, ledgers, reports):
    table = phase_costs(load_frames(ledgers[name]).view)
    for key in ("route", "phase"):
        (partition,) = [p for p in reports[name].partitions if p.key == key]
        found = {(part.unit, part.value or ""): part.amount.allocated_h for part in partition.parts}
        rows = table[table["route"] != "total"].groupby(["unit", key])["allocated_device_hours"].sum()
        assert found == pytest.approx(rows.to_dict())


def test_the_finished_study_by_hand(reports):
    report = reports["done"]
    assert report.total.allocated_h == pytest.approx(TOTAL_H)
    assert report.total.money == pytest.approx(PRICE * TOTAL_H)
    by = {p.key: {part.value: part.amount.allocated_h for part in p.parts} for p in report.partitions}
    assert by["route"] == pytest.approx({"search": SEARCH_H, "prune": PRUNE_H, "scratch": SCRATCH_H})
    assert list(by["route"]) == ["search", "prune", "scratch"]
    shared = 3 * 3.42 + 0.54 + 0.90 + 1.44
    each = 3 * (0.21 + 0.21 + 0.31 + 0.41)
    assert by["target"] == pytest.approx({TARGETS[0]: each + 0.1, TARGETS[1]: each, None: shared})
    assert by["owner"] == {None: pytest.approx(TOTAL_H)}
    use = report.use
    assert use.capacity_h == pytest.approx(3 * PRUNE_H), "three cores for as long as the longest route"
    assert use.idle_h == pytest.approx(3 * PRUNE_H - TOTAL_H)
    assert use.money["idle"] == pytest.approx(PRICE * use.idle_h)
    assert sum(use.money.values()) == pytest.approx(PRICE * use.capacity_h)
    (network,) = [n for n in report.networks if (n.label, n.target, n.replicate) == ("prune", 500_000, 0)]
    assert network.hours == pytest.approx({"full": 3.63, "free": 0.21, "amortised": 1.71 + 0.21})
    assert network.money == pytest.approx(PRICE * 3.63)


def test_two_people_and_labels(reports):
    report = reports["two people"]
    by = {p.key: {part.value: part.amount.allocated_h for part in p.parts} for p in report.partitions}
    own = 0.1 + 0.2 + 0.1 + 0.1 + 0.1  # the start-up, the whole, shared and lost attempts, and the one under way
    assert by["owner"] == pytest.approx({"mia": own, None: TOTAL_H})
    assert by["label:team"] == pytest.approx({"speech": own, None: TOTAL_H})
    assert by["phase"]["start_up"] == pytest.approx(0.1)
    assert by["phase"]["export"] == pytest.approx(0.1)
    assert (report.num_running, dict(report.labels)) == (1, {"team": "speech", "owner": "mia"})


def test_kinds_of_device_are_never_added_up(reports):
    report = reports["mixed"]
    assert list(report.totals) == [Unit.GPU_HOURS, Unit.CPU_CORE_HOURS]
    assert report.totals[Unit.CPU_CORE_HOURS].allocated_h == pytest.approx(TOTAL_H)
    assert report.totals[Unit.GPU_HOURS].money == pytest.approx(2.5 * 0.6)
    assert report.totals[Unit.CPU_CORE_HOURS].money == pytest.approx(PRICE * TOTAL_H)
    assert f"besides, {TOTAL_H:.2f} CPU core-hours" in as_text(report, ["total"])


def test_energy_is_shown_with_how_it_was_measured(reports):
    text = " ".join(as_text(reports["gpu"], ["energy"]).split())
    assert "energy: 1.5 kWh measured, over 0.3 of 20.68 GPU-hours" in text
    assert "1 kWh of 1 attempt by the device's own energy counter, through NVML" in text
    assert "0.5 kWh of 1 attempt by the device's own energy counter, through NVML; by the share" in text
    assert "electricity: 0.45 EUR, of 1.5 kWh × PUE 1.5" in text
    assert "carbon: 675 g CO2e" in text
    assert "energy: not measured" in as_text(reports["done"], ["energy"])
    assert as_json(reports["done"])["energy"]["kwh"] is None


def planned(folder):
    """Store a plan of three pretrainings, an hour each."""
    steps = tuple(PlannedStep("prune", "pretrain", None, r, jobs=1, hours=1.0) for r in range(3))
    store_plan(StudyFolder(folder), StoredPlan(1, "s1", 0.0, "cpu", 1e9, 3.0, False, steps))
    return folder


def test_planned_against_actual(make_study):
    report = cost_report(planned(make_study(until_h=4, routes=("prune",), budget={"prune": 5.0})))
    steps = {(step.route, step.phase): step for step in report.steps}
    pretraining = steps["prune", "pretrain"]
    assert (pretraining.jobs_planned, pretraining.jobs_done, pretraining.planned_h) == (3, 1, 3.0)
    assert pretraining.actual_h == pytest.approx(3.42)
    assert steps["prune", "finetune"].planned_h == 0.0, "what was not planned is shown, too"
    assert sum(step.actual_h for step in report.steps) == pytest.approx(report.total.allocated_h)
    text = as_text(report, ["plan", "forecast"])
    assert [line.split() for line in text.splitlines() if line.startswith("prune  pretrain")] == [
        ["prune", "pretrain", "3", "1", "3.000", "3.420", "3.42"]
    ]
    (prune,) = report.forecast.routes
    assert (prune.budget_h, prune.left_h) == (15.0, pytest.approx(2 * 3.42))
    assert "2 jobs are left, at 3.42 times the planned hours" in text


def test_a_plan_in_another_unit_is_not_compared(make_study):
    folder = planned(make_study(until_h=4, routes=("prune",), cuda=True))
    report = cost_report(folder)
    assert all(step.planned_h is None for step in report.steps)
    assert report.forecast.left_h is None
    assert "the plan is in CPU core-hours and the study ran in GPU-hours" in " ".join(as_text(report, ["plan"]).split())


@pytest.mark.parametrize("name", NAMES)
def test_text_fits_a_terminal(name, reports):
    text = as_text(reports[name], list(SECTIONS))
    assert max(len(line) for line in text.splitlines()) <= WIDTH


def test_long_names_are_cut_to_fit(make_study):
    folder = second_session(make_study(until_h=1), owner="o" * 100)
    (folder / "prices.yaml").write_text(PRICES)
    text = as_text(cost_report(folder), ["owner", "total"])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "ooo…" in text


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("route", "prune", "prune"),
        ("route", None, "start-ups, no attempt"),
        ("phase", "fit_predictor", "fit predictor"),
        ("target", 500_000, "0.5M MACs"),
        ("target", None, "all targets"),
        ("replicate", 0, "0"),
        ("replicate", None, "start-ups, no attempt"),
        ("owner", "an_owner", "an_owner"),
        ("owner", None, "not on record"),
        ("label:team", None, "not on record"),
    ],
)
def test_a_part_in_words(key, value, said):
    assert part_text(key, value) == said


@pytest.mark.parametrize("key", KEYS)
def test_every_table_ends_with_the_same_total(key, reports):
    last = as_text(reports["done"], [key]).splitlines()[-1].split()
    assert (last[0], last[1], last[-1]) == ("total", f"{TOTAL_H:.2f}", f"{PRICE * TOTAL_H:.3f}")


@pytest.mark.parametrize("name", NAMES)
def test_json_is_what_the_schema_says(name, reports):
    document = json.loads(json.dumps(as_json(reports[name]), allow_nan=False))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA)
    broken = document | {"totals": []}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA)


@pytest.mark.parametrize("name", NAMES)
def test_csv_rows_add_up_and_nothing_is_called_billed(name, reports):
    report = reports[name]
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert not {"BilledCost", "EffectiveCost", "ListCost", "ContractedCost"} & set(COLUMNS)
    assert all(column.startswith("x_") for column in OWN_COLUMNS)
    for unit, amount in report.totals.items():
        mine = [
            row
            for row in rows
            if row["ConsumedUnit"] == {"cuda": "GPU-Hours", "cpu_core": "Core-Hours"}[unit.device_kind]
        ]
        assert sum(float(row["ConsumedQuantity"]) for row in mine) == pytest.approx(amount.allocated_h)
        assert sum(float(row["x_EstimatedListCost"]) for row in mine) == pytest.approx(amount.money)
        assert sum(float(row["x_LostQuantity"]) for row in mine) == pytest.approx(amount.lost_h)
    assert {row["x_FocusVersion"] for row in rows} <= {"1.2"}


def test_csv_has_labels_as_tags_and_times_in_utc(reports):
    rows = list(csv.DictReader(io.StringIO(as_csv(reports["two people"]))))
    (row,) = [row for row in rows if row["x_Attempt"] == "lost"]
    assert json.loads(row["Tags"]) == {"owner": "mia", "team": "speech"}
    assert row["ChargePeriodStart"].endswith("Z") and len(row["ChargePeriodStart"]) == 20
    assert (row["x_Status"], row["x_PriceDate"], row["x_EstimateCurrency"]) == ("lost", "2026-11-26", "EUR")
    assert (row["x_EnergyKwh"], row["ChargeCategory"]) == ("", "Usage")


def test_without_prices_there_are_hours_alone(make_study):
    report = cost_report(make_study())
    assert report.total.money is None and report.use.money is None
    assert "no prices: put a prices.yaml beside study.yaml" in as_text(report, ["total"])
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert {row["x_EstimatedListCost"] for row in rows} == {""}


def test_a_ledger_that_does_not_add_up_is_said_to(make_study):
    folder = make_study()
    with LedgerWriter(folder / "ledger", "s1", "driver", clock=lambda: 1.77e9) as ledger:
        ledger.append(Kind.HEARTBEAT, t=1_760_000_100.0, attempt="never started")
    report = cost_report(folder)
    assert not report.adds_up
    assert "The ledger does not add up: `prune-or-search audit`" in as_text(report, ["total"])
