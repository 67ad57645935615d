"""Before a ledger is closed, every worker of our own Ray is killed, even an orphan, and nothing else."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from processes import is_alive

from harness.backends import own_ray

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are listed in /proc")

TITLE = "ray::_trainable.train"


@pytest.fixture
def orphan(tmp_path):
    """A function that starts processes which are not our children, like the workers of a dead raylet."""
    started = []

    def start(title: str, token: str) -> int:
        file = tmp_path / f"{len(started)}.pid"
        script = f'(exec -a "{title}" sleep 60) & echo $! > {file}'
        subprocess.run(["bash", "-c", script], env={"PATH": "/usr/bin:/bin", "RAY_AUTH_TOKEN": token}, check=True)
        pid = int(file.read_text())
        started.append(pid)
        while not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode()):
            time.sleep(0.01)
        return pid

    yield start
    for pid in started:
        subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)


def test_an_orphan_with_our_token_is_gone_when_it_returns(orphan, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "ours")
    ours, agent, of_another = orphan(TITLE, "ours"), orphan("ray::DashboardAgent", "ours"), orphan(TITLE, "ours2")
    own_ray.kill_workers()
    assert not is_alive(ours)
    assert is_alive(agent)
    assert is_alive(of_another)


def test_without_a_token_nobody_is_taken_for_ours(orphan, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    other = orphan(TITLE, "")
    own_ray.kill_workers()
    assert is_alive(other)
