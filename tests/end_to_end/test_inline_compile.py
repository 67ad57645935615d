"""A whole study whose trainings are compiled: masks, removed channels, gradual pruning, trials, halving, audit, resuming.

Forward and backward passes are traced and run by torch's own kernels (``aot_eager``), which needs no C++ compiler.
"""

import pytest
from inline_runs import records, run

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.planning import can_compile
from harness.training import compiled
from harness.training.updates import Updates

CONFIG = {
    "name": "compiled",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 200},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 1}},
    "targets": ["0.6M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05, "compile": True, "ema_decay": 0.9, "distill": {"teacher": "parent"}},
    "routes": {
        "search": {
            "strategy": {"num_trials": 3}, "candidate": {"epochs": 2}, "retrain": {"epochs": 1},
            "halving": {"eta": 2, "rungs": 2},
        },
        "prune": {
            "criterion": ["global_magnitude", "channels_magnitude", "global_magnitude+gradual"],
            "finetune": {"epochs": 2, "tune": "lr_range"},
        },
        "scratch": {"train": {"epochs": 1, "compile": False}},
    },
}  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder, tried = tmp_path_factory.mktemp("compiled") / "study", []
    plain = Updates.try_out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "BACKEND", "aot_eager")
        patch.setattr(can_compile, "compile_problem", lambda device: None)
        patch.setattr(Updates, "try_out", lambda self: tried.append(1) or plain(self))
        run(CONFIG, folder)
        size = len(records(folder, Kind.ATTEMPT_STARTED))
        run(CONFIG, folder)
    assert len(records(folder, Kind.ATTEMPT_STARTED)) == size  # the second run had nothing to do
    return folder, len(tried)


def test_all_is_delivered_and_adds_up(study):
    folder, _ = study
    ends = records(folder, Kind.ATTEMPT_ENDED)
    assert {end["status"] for end in ends} == {"ok"}
    labels = {path.parent.parent.name for path in folder.glob("models/*/*/*/model.safetensors")}
    assert labels >= {"search", "prune", "scratch_family"}
    assert audit(read_ledger(folder / "ledger").records).ok


def test_each_training_but_the_range_tests_and_the_controls_was_compiled(study):
    folder, tried = study
    started = records(folder, Kind.ATTEMPT_STARTED)
    on = [record["job"] for record in started if record["spec"]["recipe"].get("compile")]
    assert tried == len([job for job in on if not job.endswith("lr_range")]) > 8
    assert not any(job.startswith("scratch") for job in on)


def test_compiling_is_start_up(study):
    """It is over when the work begins; what an attempt held before that is overhead."""
    view = derive(read_ledger(study[0] / "ledger").records)
    compiled_jobs = {r["job"] for r in records(study[0], Kind.ATTEMPT_STARTED) if r["spec"]["recipe"].get("compile")}
    for attempt in view.attempts:
        if attempt.job in compiled_jobs and not attempt.job.endswith("lr_range"):
            assert attempt.overhead_s > 0
