"""Successive halving in whole studies: nothing is trained twice, kills change no bit, plan and costs include rungs."""

import copy
from collections import Counter
from dataclasses import replace

import pytest
from inline_runs import metrics, models, quick, records, run

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from harness.config.study import DatasetConfig, parse_config
from harness.devices import Held
from harness.jobs.identity import JobId
from harness.jobs.spec import from_json
from harness.jobs.start import FRESH
from harness.planning.speeds import Speeds
from harness.scheduling.scheduler import Scheduler
from harness.training import loop
from harness.work.attempt import execute
from harness.work.price import OVERHEAD_S
from harness.work.workplace import Workplace

ENDS = (1, 2, 4)
NUM_AT = (3, 2, 1)
"""The number of candidates at each rung, starting from three with eta 2."""


CONFIG = {
    "name": "halved",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 200},
    "parent": {"family": "fbnetv3_mini", "variant": "l"},
    "targets": ["0.6M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05},
    "routes": {
        "search": {
            "strategy": {"name": "random", "num_trials": 3}, "candidate": {"epochs": 4}, "retrain": {"epochs": 1},
            "halving": {"eta": 2}, "num_predicted": 0,
        }
    },
}  # fmt: skip


@pytest.fixture
def config():
    return copy.deepcopy(CONFIG)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halved") / "study"
    run(CONFIG, folder)
    return folder


def outcomes(folder):
    """For each job, its accuracies and the checksums of the files it left."""
    found = {}
    jobs = {record["attempt"]: record["job"] for record in records(folder, Kind.ATTEMPT_STARTED)}
    for record in records(folder, Kind.ATTEMPT_ENDED):
        if record["outcome"] is not None:
            kept = {
                k: v for k, v in record["outcome"].items() if k.startswith(("val_", "test_")) or k.endswith("_sha256")
            }
            found[jobs[record["attempt"]]] = kept
    return found


def epochs_of(folder):
    """How often each epoch of each candidate was trained, over all of its jobs."""
    jobs = {record["attempt"]: record["job"] for record in records(folder, Kind.ATTEMPT_STARTED)}
    return Counter(
        (jobs[record["attempt"]].partition("-rung-")[0], record["epoch"])
        for record in records(folder, Kind.PROGRESS)
        if "candidate" in jobs[record["attempt"]]
    )


def test_each_rung_has_half_of_the_candidates_and_goes_on_where_they_were(study):
    specs = [record["spec"] for record in records(study, Kind.ATTEMPT_STARTED) if record["phase"] == "search"]
    by_rung = Counter(spec["stop_epoch"] or ENDS[-1] for spec in specs)
    assert [by_rung[end] for end in ENDS] == list(NUM_AT)
    assert {(spec["epochs_before"], spec["stop_epoch"]) for spec in specs if "epochs_before" in spec} == {
        (1, 2),
        (2, None),
    }
    epochs = epochs_of(study)
    assert set(epochs.values()) == {1}, "nothing is trained twice"
    assert len(epochs) == 3 * 1 + 2 * 1 + 1 * 2


def test_a_candidate_that_got_to_the_end_is_one_that_was_trained_in_one_go(study, config, tmp_path):
    """The job of the last rung as it would be without rungs, run alone, has the same curve to the last bit."""
    specs = {record["job"]: record["spec"] for record in records(study, Kind.ATTEMPT_STARTED)}
    last = next(from_json(spec) for job, spec in specs.items() if "rung-2" in job)
    whole = replace(last, id=JobId("search", 0, None, "whole"), start=FRESH)
    held = Held("cpu", {"n/cpu": 1.0}, 1, "group")
    place = Workplace(StudyFolder(tmp_path), "s1", DatasetConfig(**config["dataset"]), held)
    with quick():
        outcome = execute(whole, place)
    assert outcome.metrics["val_curve"] == outcomes(study)[last.name]["val_curve"]


def test_states_are_gone_once_the_study_is_done(study):
    assert list((study / "checkpoints").glob("*candidate*")) == []


def test_its_ledger_is_sound_and_every_rung_is_paid_for(study):
    ledger = read_ledger(study / "ledger")
    assert audit(ledger.records).ok
    view = derive(ledger.records)
    rungs = [attempt for attempt in view.attempts if attempt.phase == "search"]
    assert len(rungs) == sum(NUM_AT)
    assert all(attempt.allocated_s > 0 and attempt.route == "search" for attempt in rungs)


class Killed(KeyboardInterrupt):
    """Raised in place of a signal."""


def dies(monkeypatch, step, at, *, told=False):
    """Kill the process while it trains ``step``: as it begins (``at`` 0), or when an epoch ends, ``told`` of or not."""

    def train(*args, **kwargs):
        hooks = kwargs["hooks"]
        if not kwargs["files"].resume.parent.name.endswith(step):
            return loop.train(*args, **kwargs)

        def begun(epochs):
            if at == 0:
                raise Killed
            hooks.begun(epochs)

        def epoch(done):
            if done.epoch == at and not told:
                raise Killed
            hooks.epoch(done)
            if done.epoch == at:
                raise Killed

        return loop.train(*args, **kwargs | {"hooks": loop.Hooks(begun, epoch)})

    monkeypatch.setattr("harness.work.train.train", train)


def test_kills_between_and_inside_rungs_change_no_bit(study, config, tmp_path, monkeypatch):
    folder = tmp_path / "study"
    for step, at, told in (("rung-1", 0, False), ("rung-2", 3, True), ("rung-2", 4, False)):
        dies(monkeypatch, step, at, told=told)
        with pytest.raises(KeyboardInterrupt):
            run(config, folder)
        assert len(list(folder.glob("checkpoints/*/state.pt"))) == 3, "one a candidate, of the last rung that it was at"
    monkeypatch.undo()
    run(config, folder)
    assert outcomes(folder) == outcomes(study)
    assert [metrics(m)["test_top1"] for m in models(folder)] == [metrics(m)["test_top1"] for m in models(study)]
    assert set(epochs_of(folder).values()) == {1}, "what was checkpointed is not trained again"


def test_a_lost_state_is_made_again_and_is_the_same(study, config, tmp_path, monkeypatch):
    folder = tmp_path / "study"
    dies(monkeypatch, "rung-1", 0)
    with pytest.raises(KeyboardInterrupt):
        run(config, folder)
    for state in folder.glob("checkpoints/*/state.pt"):
        state.write_bytes(state.read_bytes()[:-1] + b"x")
    monkeypatch.undo()
    run(config, folder)
    assert outcomes(folder) == outcomes(study)
    again = [record for record in records(folder, Kind.ATTEMPT_STARTED) if "again" in record]
    assert len(again) == 2, "the two that go on"
    assert all("changed training state" in record["again"] for record in again)


def test_the_plan_knows_the_rungs(config, study, monkeypatch):
    from harness import plan
    from harness.validation import check_study

    monkeypatch.setattr(plan, "measure_speeds", lambda *_: Speeds(1e9))
    view = check_study(parse_config(config, "test"), need_data=False)
    planned = plan.plan_study(view, "cpu", {"": 1.0})
    search = [each for each in planned.jobs if each.job.phase == "search"]
    assert len(search) == sum(NUM_AT)
    assert len(planned.jobs) == len({record["job"] for record in records(study, Kind.ATTEMPT_STARTED)})
    whole = copy.deepcopy(config)
    whole["routes"]["search"] |= {"early_stop": False}
    del whole["routes"]["search"]["halving"]
    plain = plan.plan_study(check_study(parse_config(whole, "test"), need_data=False), "cpu", {"": 1.0})
    in_one_go = [each for each in plain.jobs if each.job.phase == "search"]
    trained_s, whole_s = (sum(each.seconds - OVERHEAD_S["cpu"] for each in jobs) for jobs in (search, in_one_go))
    assert 0.45 < trained_s / whole_s < 0.7, "7 epochs of 12, of networks that differ in size"


def test_a_budget_leaves_candidates_where_they_are_and_more_of_it_goes_on(study, config, tmp_path, monkeypatch):
    folder = tmp_path / "study"

    def too_dear(self, job):
        return "too dear" if job.name.endswith("rung-2") else None

    monkeypatch.setattr(Scheduler, "_not_paid_for", too_dear)
    run(config, folder)
    assert len(models(folder)) == 1, "the search ends with what it has"
    assert not any(job.endswith("rung-2") for job in outcomes(folder))
    monkeypatch.undo()
    run(config, folder)
    assert {j: o for j, o in outcomes(folder).items() if "candidate" in j} == {
        j: o for j, o in outcomes(study).items() if "candidate" in j
    }
    assert set(epochs_of(folder).values()) == {1}
