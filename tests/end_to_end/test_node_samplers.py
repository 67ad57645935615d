"""A node's sampler in a real run: it names the attempts at work, its process is killed, and it ends with the run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from inline_runs import SMALL, run
from processes import command_of, heeding_ctrl_c, is_alive, tree

from accounting.audit.audit import audit
from accounting.ledger.heartbeat import UNSEEN_S
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are listed in /proc"),
]


def records_of(folder, kind):
    records = read_ledger(folder / "ledger").records if (folder / "ledger").exists() else ()
    return [record for record in records if record["kind"] == kind]


def sampler_of(driver):
    """The process id of the driver's sampler; None if there is none at the moment."""
    titles = {pid: command_of(pid) for pid in tree(driver.pid) if is_alive(pid)}
    return next((pid for pid, title in titles.items() if title.startswith("ray::NodeSampler")), None)


def wait_for(condition, driver, log):
    end_s = time.monotonic() + 200
    while not (found := condition()):
        assert driver.poll() is None, log.read_text()
        assert time.monotonic() < end_s, log.read_text()
        time.sleep(0.1)
    return found


def test_a_killed_sampler_is_started_again_and_ends_with_the_run(tiny, tmp_path, request):
    config, folder, log = tiny | SMALL, tmp_path / "tiny", tmp_path / "log"
    config["parent"]["pretrain"]["epochs"] = 2000
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    with log.open("w") as out:
        driver = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", "run", str(tmp_path / "tiny.yaml"), "--out", str(folder)],
            stdout=out, stderr=subprocess.STDOUT, cwd=request.config.rootpath, preexec_fn=heeding_ctrl_c,
        )  # fmt: skip

    def beats():
        return records_of(folder, Kind.NODE_BEAT)

    try:
        wait_for(beats, driver, log)
        first = wait_for(lambda: sampler_of(driver), driver, log)
        os.kill(first, signal.SIGKILL)
        segments = wait_for(lambda: len(found := {r["segment"] for r in beats()}) == 2 and found, driver, log)
        pids = tree(driver.pid)
        second = sampler_of(driver)
        driver.send_signal(signal.SIGTERM)
        code = driver.wait(timeout=60)
    finally:
        if driver.poll() is None:
            driver.kill()
    end_s = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert [command_of(pid) for pid in pids if is_alive(pid)] == []
    assert second in pids
    assert second != first
    assert code == 1, log.read_text()
    assert "has no sampler" not in log.read_text()
    [started] = records_of(folder, Kind.ATTEMPT_STARTED)
    assert {name for beat in beats() for name in beat["attempts"]} == {started["attempt"]}
    assert {r["segment"].split("-")[1] for r in beats()} == {"sampler"}
    assert {r["segment"] for r in beats()} == segments
    assert started["heartbeat_s"] == UNSEEN_S
    ledger = read_ledger(folder / "ledger")
    assert audit(ledger.records, ledger.findings).ok, audit(ledger.records, ledger.findings).findings
    assert not (folder / ".beats").exists()


def test_in_one_process_the_driver_says_who_is_at_work(tiny, tmp_path):
    """The driver records it in its own segment, because the sampler is one of its threads."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\nfrom harness.data.fashion_mnist_mini import Dataset as Plain\n"
        f"class Dataset(Plain):\n    def splits(self):\n        time.sleep({UNSEEN_S})\n        return super().splits()\n"
    )
    config = tiny | SMALL | {"plugins": [str(slow)], "dataset": {"name": "slow", "num_train": 200}}
    run(config, tmp_path / "study", all_images=True)
    started = {record["attempt"] for record in records_of(tmp_path / "study", Kind.ATTEMPT_STARTED)}
    beats = records_of(tmp_path / "study", Kind.NODE_BEAT)
    named = {name for beat in beats for name in beat["attempts"]}
    assert named
    assert named <= started
    assert {beat["segment"].split("-")[1] for beat in beats} == {"driver"}
    ledger = read_ledger(tmp_path / "study" / "ledger")
    assert audit(ledger.records, ledger.findings).ok
    assert not (tmp_path / "study" / ".beats").exists()
