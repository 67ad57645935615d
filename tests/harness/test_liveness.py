"""A worker whose session is over or whose raylet is dead ends itself, during attempts and between them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.backends.reaper import started
from harness.work.liveness import EXIT_CODE, Life, WorkerLife, session_file, session_path, watched

WORKER = """
import sys, time
from pathlib import Path
from harness.work.liveness import WorkerLife, watch_between_attempts, watched
root, session, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
life = WorkerLife(root, session)
watch_between_attempts(life)
watch_between_attempts(life)
if mode == "between":
    with watched(life, lambda reason: (root / "ended").write_text(reason)):
        pass
    (root / "ready").touch()
    time.sleep(60)
with watched(life, lambda reason: (root / "ended").write_text(reason)):
    (root / "ready").touch()
    time.sleep(60)
"""
RAYLET = """
import os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, *sys.argv[1:]])
open(sys.argv[2] + "/pid", "w").write(str(worker.pid))
time.sleep(60)
"""


def words(root, mode):
    (root / "worker.py").write_text(WORKER)
    return [str(root / "worker.py"), str(root), "s1", mode]


def wait_until(condition, limit_s=60.0):
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def environment(request):
    return os.environ | {"PYTHONPATH": str(request.config.rootpath)}


@pytest.mark.parametrize("mode", ["at_work", "between"])
@pytest.mark.parametrize("session", ["s2", None])
def test_a_worker_ends_with_its_session(tmp_path, request, mode, session):
    session_path(tmp_path).write_text("s1")
    worker = subprocess.Popen([sys.executable, *words(tmp_path, mode)], env=environment(request))
    try:
        wait_until((tmp_path / "ready").exists)
        time.sleep(1.5)
        assert worker.poll() is None
        session_path(tmp_path).unlink()
        if session is not None:
            session_path(tmp_path).write_text(session)
        assert worker.wait(20) == EXIT_CODE
    finally:
        worker.kill()
    assert not (tmp_path / "ended").exists()


@pytest.mark.parametrize("mode", ["at_work", "between"])
def test_a_worker_ends_with_its_raylet_and_says_so_while_the_session_lasts(tmp_path, request, mode):
    session_path(tmp_path).write_text("s1")
    (tmp_path / "raylet.py").write_text(RAYLET)
    command = [sys.executable, str(tmp_path / "raylet.py"), *words(tmp_path, mode)]
    raylet = subprocess.Popen(command, env=environment(request))
    wait_until((tmp_path / "ready").exists)
    pid = int((tmp_path / "pid").read_text())
    raylet.kill()
    raylet.wait()
    try:
        wait_until(lambda: started(pid) is None, 20.0)
    finally:
        if started(pid) is not None:
            os.kill(pid, signal.SIGKILL)
    assert (tmp_path / "ended").exists() == (mode == "at_work")


def test_who_has_a_place_lives_and_is_watched_no_more_afterwards(tmp_path):
    with session_file(tmp_path, "s1"):
        life = WorkerLife(tmp_path, "s1")
        assert life.lost() is None
        with watched(life, pytest.fail):
            time.sleep(1.2)
        assert WorkerLife(tmp_path, "s0").lost() == ("the session that this attempt belongs to is over", False)
    assert life.lost() is not None
    assert Life().lost() is None
