"""Whole studies in which two workers share a job: on Ray Tune, also with one of them killed, and in one process."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import inline_runs
import pytest
import yaml

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.errors import StudyFailed


def shared(tiny, phase, **resources):
    """A config of pruning alone at one target: four jobs, of which two workers share that of one phase."""
    held = {"device": "cpu", "devices_per_job": {phase: 2}, "workers_per_job": {phase: 2}}
    return tiny | inline_runs.SMALL | {"resources": held | resources}


def records_of(folder, kind=None):
    records = read_ledger(folder / "ledger").records if (folder / "ledger").exists() else ()
    return [record for record in records if kind is None or record["kind"] == kind]


def peers_below(pid):
    """Ids of the processes below this one that are further workers of a job."""
    found = []
    for child in children(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        found += [child] if b"harness.work.peer" in words else []
        found += peers_below(child)
    return found


def children(pid):
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in tasks.read_text().split()]
        except OSError:
            continue
    return found


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition, process, log, limit_s=300):
    end = time.time() + limit_s
    while not (found := condition()):
        assert process.poll() is None, log.read_text()
        assert time.time() < end, log.read_text()
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory, request, tiny_text):
    """A study on Ray Tune with a job shared by two workers, one of them killed after an epoch: (folder, its pid)."""
    root = tmp_path_factory.mktemp("workers")
    folder, log, config = root / "study", root / "log.txt", root / "study.yaml"
    tiny = shared(yaml.safe_load(tiny_text), "pretrain")
    tiny["dataset"] = {"name": "fashion_mnist_mini", "num_train": 1000}
    tiny["parent"]["pretrain"] = {"epochs": 4}
    config.write_text(yaml.safe_dump(tiny))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(request.config.rootpath)}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", "run", str(config), "--out", str(folder)],
            stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=root, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: records_of(folder, Kind.PROGRESS), process, log)
        (peer,) = wait_for(lambda: peers_below(process.pid), process, log)
        os.kill(peer, signal.SIGKILL)
        assert process.wait(timeout=200) == 0, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return folder, peer


@pytest.mark.timeout(400)
def test_a_killed_worker_ends_its_attempt_and_the_next_goes_on_from_the_last_epoch(killed):
    folder, peer = killed
    first, second = [r for r in records_of(folder, Kind.ATTEMPT_STARTED) if r["phase"] == "pretrain"]
    ended = {record["attempt"]: record for record in records_of(folder, Kind.ATTEMPT_ENDED)}
    assert ended[first["attempt"]]["status"] == "failed"
    assert ended[first["attempt"]]["reason"] == "WorkerLost: worker 1 of 2 is lost: it was ended by SIGKILL"
    assert ended[second["attempt"]]["status"] == "ok"
    begun = {record["attempt"]: record["epoch"] for record in records_of(folder, Kind.WORK_BEGUN)}
    assert begun[first["attempt"]] == 0
    assert begun[second["attempt"]] >= 1
    assert not is_running(peer)


@pytest.mark.timeout(400)
def test_what_both_workers_hold_is_charged_once_and_adds_up(killed):
    folder, _ = killed
    ledger = read_ledger(folder / "ledger")
    started = {record["attempt"]: record for record in records_of(folder, Kind.ATTEMPT_STARTED)}
    by_phase = Counter(
        (record["phase"], record["num_workers"], *record["devices"].values()) for record in started.values()
    )
    assert by_phase == {("pretrain", 2, 2.0): 2, ("prune", 1, 1.0): 1, ("finetune", 1, 1.0): 1, ("evaluate", 1, 1.0): 1}
    opened = {r["allocation"]: r["devices"] for r in records_of(folder, Kind.ALLOCATION_OPENED)}
    for attempt in derive(ledger.records).attempts:
        assert opened[attempt.allocation] == started[attempt.attempt]["devices"] == attempt.devices
        amount = sum(attempt.devices.values())
        assert attempt.allocated_s == pytest.approx(amount * (attempt.end_t - attempt.begin_t))
    assert audit(ledger.records, ledger.findings).ok
    assert [session.closed for session in derive(ledger.records).sessions] == [True]


def test_a_study_in_one_process_shares_its_jobs_too(tiny, tmp_path):
    inline_runs.run(shared(tiny, "finetune"), tmp_path / "two", all_images=True)
    workers = {r["phase"]: r["num_workers"] for r in records_of(tmp_path / "two", Kind.ATTEMPT_STARTED)}
    assert workers == {"pretrain": 1, "prune": 1, "finetune": 2, "evaluate": 1}
    ledger = read_ledger(tmp_path / "two" / "ledger")
    assert audit(ledger.records, ledger.findings).ok
    assert not peers_below(os.getpid())


def test_a_worker_that_fails_says_why(tiny, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(
        "import os\nfrom harness.data.fashion_mnist_mini import Dataset as Plain\n"
        "class Dataset(Plain):\n    def splits(self):\n"
        f"        if os.getpid() != {os.getpid()}:\n            raise OSError('the disk is gone')\n"
        "        return super().splits()\n"
    )
    config = shared(tiny, "pretrain", max_attempts=1)
    config |= {"plugins": [str(broken)], "dataset": {"name": "broken", "num_train": 200}}
    with pytest.raises(StudyFailed):
        inline_runs.run(config, tmp_path / "study", all_images=True)
    reasons = {record["reason"] for record in records_of(tmp_path / "study", Kind.ATTEMPT_ENDED)}
    assert reasons == {"WorkerLost: worker 1 of 2 is lost: OSError: the disk is gone"}
