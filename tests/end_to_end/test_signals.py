"""A run told to end prints one line, closes a ledger that adds up and leaves nothing running; it can be resumed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from inline_runs import SMALL
from processes import command_of, heeding_ctrl_c, is_alive, tree

from accounting.audit.audit import audit
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are listed in /proc"),
]


@contextmanager
def working_study(config, root, cwd):
    """A driver with its first job under way, and the processes that it started; it is killed at the end."""
    config["parent"]["pretrain"]["epochs"] = 2000
    (root / "tiny.yaml").write_text(yaml.safe_dump(config))
    with (root / "log").open("w") as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", "run", str(root / "tiny.yaml"), "--out", str(root / "tiny")],
            stdout=log, stderr=subprocess.STDOUT, cwd=cwd, preexec_fn=heeding_ctrl_c,
        )  # fmt: skip
    try:
        deadline = time.time() + 240
        while not any(r["kind"] == Kind.PROGRESS for r in read_ledger(root / "tiny" / "ledger").records):
            assert driver.poll() is None, (root / "log").read_text()
            assert time.time() < deadline, (root / "log").read_text()
            time.sleep(0.2)
        yield driver, tree(driver.pid)
    finally:
        if driver.poll() is None:
            driver.kill()


def end_with(action, tiny, tmp_path, request):
    with working_study(tiny, tmp_path, request.config.rootpath) as (driver, pids):
        action(driver, pids)
        code = driver.wait(timeout=60)
    deadline = time.time() + 20
    while any(is_alive(pid) for pid in pids) and time.time() < deadline:
        time.sleep(0.1)
    log = (tmp_path / "log").read_text()
    assert [command_of(pid) for pid in pids if is_alive(pid)] == []
    assert code == 1, log
    assert "Traceback" not in log
    assert "SIGTERM received at" not in log
    records = read_ledger(tmp_path / "tiny" / "ledger").records
    assert [r["reason"] for r in records if r["kind"] == Kind.SESSION_CLOSED] == ["interrupted"]
    assert audit(records).ok, audit(records).findings
    return [line for line in log.splitlines() if line.startswith("error:")]


@pytest.mark.parametrize(("name", "routes"), [("SIGTERM", {}), ("SIGINT", SMALL)])
def test_a_signal_ends_a_run_in_order(name, routes, tiny, tmp_path, request):
    """SIGTERM arrives with two jobs under way, SIGINT with one."""
    tiny |= routes
    (line,) = end_with(lambda driver, pids: driver.send_signal(getattr(signal, name)), tiny, tmp_path, request)
    assert f"interrupted ({name}); run the same command again" in line


def test_a_run_whose_raylet_dies_ends(tiny, tmp_path, request):
    def kill(driver, pids):
        os.kill(next(pid for pid in pids if command_of(pid).split("--")[0].strip().endswith("/raylet")), signal.SIGKILL)

    (line,) = end_with(kill, tiny | SMALL, tmp_path, request)
    assert "raylet died; run the same command again" in line


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_during_the_imports_ends_the_command_in_one_line(name, tmp_path):
    begun = (
        "import os, signal, threading; from harness.console.guard import quick_interrupt\n"
        "with quick_interrupt():\n"
        f"    os.kill(os.getpid(), signal.{name}); threading.Event().wait(30)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", begun], capture_output=True, text=True, check=False, preexec_fn=heeding_ctrl_c
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: interrupted")
    assert done.stderr.count("\n") == 1
