"""A study's plan is stored when it begins, never again when it resumes, and once more when the study grows."""

import json
import subprocess

import pytest
from inline_runs import SMALL, records, run

from accounting.cost.attempts import derive
from accounting.cost.shares import ledger_h
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from accounting.study.plans import read_plans
from harness.config.study import parse_config
from harness.devices import local_capacity
from harness.keep_plan import keep_plan
from harness.planning.speeds import Speeds
from harness.stored.study_file import check_folder
from harness.validation import check_study
from harness.work.price import OVERHEAD_S


@pytest.fixture
def small(tiny):
    small = tiny | SMALL | {"labels": {"team": "vision"}}
    small["dataset"]["num_train"] = 100
    small["parent"]["pretrain"]["epochs"] = 1
    return small


def test_a_plan_when_it_begins_and_one_when_it_grows(small, tmp_path):
    folder = StudyFolder(tmp_path / "study")
    run(small, folder.root)
    (first,) = read_plans(folder)
    jobs = {(step.route, step.phase): step.jobs for step in first.steps}
    assert jobs == {("prune", "pretrain"): 1, ("prune", "prune"): 1, ("prune", "finetune"): 1, ("prune", "evaluate"): 1}
    assert (first.number, first.unit, first.spent_hours, first.note) == (1, "cpu_core_hours", 0.0, None)
    assert first.hours is not None and first.hours > 0
    kept = next(folder.plans.iterdir()).read_bytes()
    run(small, folder.root)
    assert [path.read_bytes() for path in folder.plans.iterdir()] == [kept], "going on is no new plan"

    spent = ledger_h(derive(read_ledger(folder.ledger).records))["cpu_core"]
    run(small | {"replicates": 2, "labels": {"team": "speech"}}, folder.root)
    same, second = read_plans(folder)
    assert same == first
    assert (second.number, second.num_jobs) == (2, 8)
    assert second.spent_hours == pytest.approx(spent)
    assert {step.replicate: step.jobs for step in second.steps} == {0: 0, 1: 1}
    sessions = records(folder.root, Kind.SESSION_OPENED)
    assert [session["labels"]["team"] for session in sessions] == ["vision", "vision", "speech"]
    assert all("owner" in session for session in sessions)


@pytest.fixture
def keep(small, tmp_path):
    """A function that stores the small study's plan for given devices and returns all plans; nothing is run."""
    config = parse_config(small, "test")
    paths = StudyFolder(tmp_path)
    standing = check_folder(config, paths)
    view = check_study(config, need_data=False)

    def keep(capacity):
        keep_plan(view, standing, capacity, "s1", paths)
        return read_plans(paths)

    return keep


def test_what_is_kept_is_what_plan_says(keep, small, command, write_config, monkeypatch):
    monkeypatch.setattr("harness.keep_plan.measure_speeds", lambda *_: Speeds(1e9))
    monkeypatch.setattr("harness.plan.measure_speeds", lambda *_: Speeds(1e9))
    (kept,) = keep(local_capacity("cpu", 2))
    said = json.loads(command("plan", write_config(small), "--json")[1])
    assert (kept.num_jobs, kept.hours) == (said["num_jobs"], pytest.approx(said["hours"]))
    by_phase = {(step.route, step.phase): step.hours for step in kept.steps}
    assert by_phase == {(row["route"], row["phase"]): pytest.approx(row["hours"]) for row in said["phases"]}


def test_a_plan_that_cannot_be_made_is_a_warning(keep, monkeypatch, caplog):
    monkeypatch.setattr("harness.keep_plan.plan_at", lambda *_: 1 / 0)
    assert keep(local_capacity("cpu", 2)) == ()
    assert "no plan is kept with the study" in caplog.text and "ZeroDivisionError" in caplog.text


def test_other_devices_than_the_drivers_have_jobs_and_no_hours(keep):
    (here,) = local_capacity("cpu", 2)
    (plan,) = keep([here, here | {"name": "another processor"}])
    assert (plan.hours, plan.num_jobs, plan.num_devices) == (None, 4, 4)
    assert "other processors" in plan.note


GPU = {"device": "GPU-1", "device_kind": "cuda", "amount": 1.0, "name": "Fast GPU", "node": "n"}


def answer(monkeypatch, code, out, err=b""):
    """Set the result of the process that is asked for the speed of the GPU."""
    done = subprocess.CompletedProcess([], code, out, err)
    monkeypatch.setattr("harness.keep_plan.subprocess.run", lambda *_, **__: done)


def test_a_gpu_is_measured_by_a_process_that_leaves_it_again(keep, monkeypatch):
    answer(monkeypatch, 0, b'["Fast GPU", 2e12, [], 4.0, []]\n')
    (plan,) = keep([GPU])
    assert (plan.unit, plan.speed_macs_per_s, plan.note) == ("gpu_hours", 2e12, None)
    overhead_h = OVERHEAD_S["cuda"] * 4 / 3600
    assert overhead_h < plan.hours < 1.01 * overhead_h, "start-ups alone, for so small a network"


def test_a_study_that_never_began_is_planned_anew_for_another_kind_of_device(keep, monkeypatch):
    cores = local_capacity("cpu", 2)
    assert len(keep(cores)) == len(keep(cores)) == 1
    answer(monkeypatch, 0, b'["Fast GPU", 2e12, [], 4.0, []]\n')
    assert [plan.unit for plan in keep([GPU])] == ["cpu_core_hours", "gpu_hours"]


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ((0, b'["Other GPU", 2e12, [], 4.0, []]\n'), "the driver's machine has a Other GPU, the jobs run on Fast GPU"),
        ((1, b"", b"Traceback\nRuntimeError: no CUDA device\n"), "could not be measured on the driver's machine"),
    ],
)
def test_another_gpu_than_the_jobs_or_none_has_jobs_and_no_hours(said, note, keep, monkeypatch):
    answer(monkeypatch, *said)
    (plan,) = keep([GPU])
    assert (plan.hours, plan.num_jobs) == (None, 4)
    assert note in plan.note


def test_prices_may_lie_in_the_folder_before_the_study_does(small, tmp_path):
    StudyFolder(tmp_path).prices.write_text("devices: {}\n")
    assert check_folder(parse_config(small, "test"), StudyFolder(tmp_path)).is_new
