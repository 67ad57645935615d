"""The reaper ends what a driver started, also a process that it has never seen as the driver's descendant."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.backends import reaper

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the reaper needs /proc")

ORPHAN = """
import subprocess, sys
orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
print(orphan.pid)
"""


def orphan(**environment):
    """A process whose parent is dead, as a worker is whose raylet was killed just after it started it."""
    said = subprocess.run(
        [sys.executable, "-c", ORPHAN], env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(said.stdout)


@pytest.fixture
def watched(tmp_path):
    """Start a reaper of a driver that ends at once, and wait for it."""

    def run(driver, *ignored):
        command = [sys.executable, "-I", "-S", reaper.__file__, str(driver), str(tmp_path / "pos"), *map(str, ignored)]
        (tmp_path / "pos").mkdir()
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=30)

    return run


@pytest.fixture
def driver():
    """A process without children; the test's own would lose its children to the reaper."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process.pid
        process.kill()


def ended(pid):
    deadline = time.monotonic() + 5
    while reaper.started(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return reaper.started(pid) is None


def test_an_orphan_with_the_mark_of_the_folder_is_killed_and_no_other(tmp_path, watched, driver):
    folder = str(tmp_path / "pos")
    pids = [orphan(**{reaper.MARK: value}) for value in (folder, f"{folder}2", "")]
    try:
        watched(driver)
        assert [ended(pid) for pid in pids[:1]] == [True]
        assert all(reaper.started(pid) for pid in pids[1:])
        assert not (tmp_path / "pos").exists()
    finally:
        for pid in pids[1:]:
            os.kill(pid, 9)


def test_an_ignored_process_keeps_running_whatever_its_mark(tmp_path, watched, driver):
    pid = orphan(**{reaper.MARK: str(tmp_path / "pos")})
    try:
        watched(driver, pid)
        assert reaper.started(pid)
    finally:
        os.kill(pid, 9)


def test_the_driver_itself_is_never_killed(tmp_path, watched):
    pid = orphan(**{reaper.MARK: str(tmp_path / "pos")})
    try:
        watched(pid)
        assert reaper.started(pid)
    finally:
        os.kill(pid, 9)
