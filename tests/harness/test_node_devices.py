"""A run asks its nodes for their devices; dying processes, signals and a dead Ray then end it in one line."""

import subprocess
import sys
import threading
import time

import pytest
import ray

from harness.backends import asked_nodes, tune
from harness.errors import StudyFailed

NODE = {"NodeID": "ab" * 28, "NodeManagerHostname": "host", "Alive": True, "Resources": {"CPU": 2.0}}
FOUND = [{"device": "cpu:host-ababab", "device_kind": "cpu_core", "amount": 2.0, "name": "x", "node": "host-ababab"}]
MEMORY = ray.exceptions.OutOfMemoryError("1 worker(s) were killed due to the node running low on memory.\nIt has 4 GB.")


@pytest.fixture
def node(monkeypatch):
    """A node whose process ends as the test says, each time: (how it ends, the options it was started with)."""
    ends, options = [], []

    class Task:
        def options(self, **given):
            options.append(given)
            return self

        def remote(self, *words):
            return words

    def get(asked, timeout):
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(asked_nodes.ray, "remote", lambda function: Task())
    monkeypatch.setattr(asked_nodes.ray, "get", get)
    return ends, options


def test_a_process_that_the_memory_monitor_killed_is_started_again(node):
    ends, options = node
    ends += [MEMORY, MEMORY, FOUND]
    assert asked_nodes.devices_of("cpu", NODE) == FOUND
    assert options[0]["max_retries"] == 0, "Ray would start it again without end, and without a word"


def test_where_each_one_is_killed_the_run_ends_and_says_why(node):
    ends, _ = node
    ends += [MEMORY] * 9
    with pytest.raises(StudyFailed) as failed:
        asked_nodes.devices_of("cpu", NODE)
    said = str(failed.value)
    assert said.startswith(
        "node host-ababab cannot report its devices, asked 3 times: OutOfMemoryError: 1 worker(s) were"
    )
    assert "run the same command again" in said
    assert "\n" not in said
    assert len(ends) == 6


def test_what_the_node_s_own_code_raises_is_one_line_too(node):
    ends, _ = node
    ends += [
        ray.exceptions.RayTaskError("node_capacity", "Traceback\n…", ModuleNotFoundError("No module named 'x'"))
    ] * 3
    with pytest.raises(StudyFailed, match=r"asked 3 times: ModuleNotFoundError: No module named 'x'"):
        asked_nodes.devices_of("cpu", NODE)


class TestMeanwhile:
    @pytest.fixture
    def left(self, monkeypatch):
        """The steps taken to leave, in order."""
        done = []
        monkeypatch.setattr(tune, "_leave_without_ray", lambda: done.append("left"))
        monkeypatch.setattr(tune.own_ray, "kill_workers", lambda: done.append("killed"))
        return done

    def test_a_signal_ends_the_waiting(self, left, monkeypatch):
        def check():
            raise tune.signals.Interrupted("SIGTERM")

        monkeypatch.setattr(tune.signals, "check", check)
        with pytest.raises(tune.signals.Interrupted):
            tune._ask_beside(lambda: time.sleep(30), True, threading.Event())
        assert left == ["left", "killed"]

    def test_a_dead_raylet_ends_it_and_ray_is_gone(self, left, monkeypatch):
        monkeypatch.setattr(tune.own_ray, "dead_processes", lambda: ["raylet"])
        gone = threading.Event()
        with pytest.raises(StudyFailed, match="Ray's raylet died while it started; run the same command again"):
            tune._ask_beside(lambda: time.sleep(30), True, gone)
        assert gone.is_set()

    def test_a_cluster_of_others_loses_no_worker(self, left):
        def ask():
            raise StudyFailed("no answer")

        with pytest.raises(StudyFailed, match="no answer"):
            tune._ask_beside(ask, False, threading.Event())
        assert left == ["left"]

    def test_an_answer_is_given_as_it_is(self, left):
        assert tune._ask_beside(lambda: ("cpu", FOUND), True, threading.Event()) == ("cpu", FOUND)
        assert left == []


@pytest.mark.parametrize("module", ["node_capacity"])
def test_what_runs_on_a_node_beside_its_jobs_imports_no_torch(module):
    program = f"import sys, harness.backends.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
