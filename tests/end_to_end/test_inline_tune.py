"""A study whose recipes are tuned: trials run first, are charged to those they serve, are planned, and resume."""

import copy
from collections import Counter

import pytest
from inline_runs import records, run

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.cost.lineage import needed
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.config.study import parse_config
from harness.planning.speeds import Speeds
from harness.training import loop

CONFIG = {
    "name": "tuned",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 200},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 1}},
    "targets": ["0.6M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05},
    "routes": {
        "prune": {"finetune": {"epochs": 2, "tune": {"lr": [0.01, 0.1], "weight_decay": [0, 0.001], "trials": 2}}},
        "scratch": {"train": {"epochs": 1, "tune": "lr_range"}, "pruned_structure": False},
    },
}
FINETUNE = "prune-r0-t600000-global_magnitude-finetune"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "study"
    run(CONFIG, folder)
    return folder


def started(folder):
    return {record["job"]: record for record in records(folder, Kind.ATTEMPT_STARTED)}


def outcomes(folder):
    jobs = {record["attempt"]: record["job"] for record in records(folder, Kind.ATTEMPT_STARTED)}
    ends = [record for record in records(folder, Kind.ATTEMPT_ENDED) if record["outcome"] is not None]
    return {jobs[e["attempt"]]: {k: v for k, v in e["outcome"].items() if k != "model_dir"} for e in ends}


def test_the_best_trial_says_how_the_network_is_trained(study):
    jobs, found = started(study), outcomes(study)
    trials = sorted(job for job in jobs if "-tune-" in job)
    assert trials == [f"{FINETUNE}-tune-0", f"{FINETUNE}-tune-1"]
    best = max(trials, key=lambda trial: found[trial]["val_top1"])
    for key in ("lr", "weight_decay"):
        assert jobs[FINETUNE]["spec"]["recipe"][key] == jobs[best]["spec"]["recipe"][key]
    assert jobs[FINETUNE]["spec"]["tuned_by"] == trials
    (test,) = (job for job in jobs if job.endswith("lr_range"))
    assert jobs[test.removesuffix("-lr_range")]["spec"]["recipe"]["lr"] == found[test]["chosen_lr"] != 0.05
    assert {jobs[job]["phase"] for job in (*trials, test)} == {"tune"}
    assert not [path for path in (study / "checkpoints").iterdir() if "-tune-" in path.name or "lr_range" in path.name]


def test_its_ledger_is_sound_and_each_network_pays_for_its_trials(study):
    ledger = read_ledger(study / "ledger")
    assert audit(ledger.records).ok
    view = derive(ledger.records)
    for evaluation in (job.job for job in view.jobs if job.phase == "evaluate"):
        paid = Counter(view.by_job[job][0].phase for job in needed(view.links, evaluation))
        assert paid["tune"] == (2 if evaluation.startswith("prune") else 1)
    assert {attempt.target for attempt in view.attempts if attempt.phase == "tune"} == {600_000}


def test_the_page_says_what_was_tuned(study, tiny_study):
    page = (study / "report" / "index.html").read_text()
    assert "Recipes were tuned in 3 jobs of the phase “tune”" in page
    assert "Recipes were given, not tuned." in (tiny_study / "report" / "index.html").read_text()


def test_the_plan_counts_the_trials(study, monkeypatch):
    from harness import plan
    from harness.validation import check_study

    monkeypatch.setattr(plan, "measure_speeds", lambda *_: Speeds(1e9))
    planned = plan.plan_study(
        check_study(parse_config(copy.deepcopy(CONFIG), "test"), need_data=False), "cpu", {"": 1.0}
    )
    assert {each.job.name for each in planned.jobs} == set(started(study))
    by_phase = {
        row["phase"]: row for row in planned.summary(parse_config(CONFIG, "test"))["phases"] if row["route"] == "prune"
    }
    assert by_phase["tune"]["num_jobs"] == 2
    assert by_phase["tune"]["hours"] == pytest.approx(2 * by_phase["finetune"]["hours"])


def test_a_kill_inside_a_trial_and_between_trials_changes_no_bit(study, tmp_path, monkeypatch):
    folder = tmp_path / "study"
    for step, at in (("tune-0", 1), ("tune-1", 0), ("finetune", 0)):

        def train(*args, step=step, at=at, **kwargs):
            hooks = kwargs["hooks"]

            def begun(epochs):
                if at == 0:
                    raise KeyboardInterrupt
                hooks.begun(epochs)

            def epoch(done):
                hooks.epoch(done)
                raise KeyboardInterrupt

            dies = kwargs["files"].resume.parent.name.endswith(step)
            return loop.train(*args, **kwargs | ({"hooks": loop.Hooks(begun, epoch)} if dies else {}))

        monkeypatch.setattr("harness.work.train.train", train)
        with pytest.raises(KeyboardInterrupt):
            run(copy.deepcopy(CONFIG), folder)
    monkeypatch.undo()
    run(copy.deepcopy(CONFIG), folder)

    def without_times(found):
        return {job: {k: v for k, v in said.items() if k != "latency"} for job, said in found.items()}

    assert without_times(outcomes(folder)) == without_times(outcomes(study))
