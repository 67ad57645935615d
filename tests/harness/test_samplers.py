"""Which nodes get a sampler, how a failing one is reported, and how samplers end; Ray's answers are scripted."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import ray

from accounting.ledger.presence import presence_of
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from harness.backends import node_sampler, samplers
from harness.backends.node_sampler import NodeSampler
from harness.backends.samplers import Samplers
from harness.work.liveness import session_file

SESSION = "s"


def node(name):
    return {"NodeID": name * 56, "NodeManagerHostname": "vm", "Alive": True, "Resources": {"CPU": 1.0}}


class Call:
    """An actor call that lasts until the test says how it ends."""

    def __init__(self):
        self.end = None


class Cluster:
    """The actors started, by the name of their node, and what was done to them."""

    def __init__(self, monkeypatch):
        self.actors, self.options, self.done, self.refuses, self.is_there = {}, {}, [], None, True
        for name in ("remote", "wait", "get", "kill"):
            monkeypatch.setattr(samplers.ray, name, getattr(self, f"_{name}"))
        monkeypatch.setattr(samplers.ray, "is_initialized", lambda: self.is_there)

    def _remote(self, sampler_class):
        assert sampler_class is NodeSampler
        return SimpleNamespace(options=self._with)

    def _with(self, **options):
        def start(root, session, name, cpu):
            if self.refuses is not None:
                raise self.refuses
            actor = SimpleNamespace(name=name, call=Call())
            actor.run = SimpleNamespace(remote=lambda: actor.call)
            actor.end = SimpleNamespace(remote=lambda: self._end(actor))
            self.actors[name], self.options[name] = actor, {**options, "cpu": cpu, "session": session}
            return actor

        return SimpleNamespace(remote=start)

    def _end(self, actor):
        self.done.append(("end", actor.name))
        actor.call.end = "well"

    def _kill(self, actor):
        self.done.append(("kill", actor.name))

    def _wait(self, calls, num_returns, timeout):
        assert num_returns == len(calls) > 0
        return [call for call in calls if call.end], [call for call in calls if not call.end]

    def _get(self, call):
        if isinstance(call.end, Exception):
            raise call.end


@pytest.fixture
def cluster(monkeypatch):
    return Cluster(monkeypatch)


@pytest.fixture
def paths(tmp_path):
    return StudyFolder(tmp_path)


@pytest.fixture
def study(cluster, paths):
    return Samplers(paths, SESSION, threading.Event())


def enter(paths, name):
    """Register an attempt on a node as its process does, and end it."""
    with presence_of(paths.beats, SESSION, name).entered("a#0", {"cpu": 1.0}):
        pass


def test_a_node_gets_its_sampler_once_an_attempt_was_there(study, cluster, paths):
    nodes = {"one": node("a"), "two": node("b")}
    study.follow(nodes)
    assert cluster.actors == {}
    enter(paths, "two")
    for _ in range(3):
        study.follow(nodes)
    assert list(cluster.actors) == ["two"]
    nodes["three"] = node("c")
    enter(paths, "three")
    study.follow(nodes)
    assert list(cluster.actors) == ["two", "three"]


def test_it_holds_nothing_of_its_node_and_is_on_no_other(study, cluster, paths):
    enter(paths, "one")
    study.follow({"one": node("a")})
    told = cluster.options["one"]
    assert (told["num_cpus"], told["num_gpus"], told["max_restarts"], told["max_task_retries"]) == (0, 0, -1, -1)
    assert (told["scheduling_strategy"].node_id, told["scheduling_strategy"].soft) == ("a" * 56, False)
    assert (told["session"], told["cpu"]) == (SESSION, "one/cpu")


def test_a_node_on_which_nobody_may_work_has_none(study, cluster, paths):
    """An unused node, for example one with another GPU model, is not among the nodes that are followed."""
    enter(paths, "other model")
    study.follow({"one": node("a")})
    assert cluster.actors == {}


def test_one_that_fails_is_one_warning_and_not_started_again(study, cluster, paths, caplog):
    enter(paths, "one")
    study.follow({"one": node("a")})
    cluster.actors["one"].call.end = ray.exceptions.RayTaskError("run", "Traceback", KeyError("GPU-1"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            study.follow({"one": node("a")})
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("node one has no sampler (KeyError: 'GPU-1'): attempts there say themselves")
    study.end()
    assert cluster.done == []


def test_one_that_cannot_be_started_is_a_warning_too(study, cluster, paths, caplog):
    cluster.refuses = RuntimeError("no")
    enter(paths, "one")
    with caplog.at_level(logging.WARNING):
        study.follow({"one": node("a")})
        study.follow({"one": node("a")})
    assert len(caplog.records) == 1


def test_that_of_a_node_that_is_gone_is_no_warning(study, cluster, paths, caplog):
    enter(paths, "one")
    enter(paths, "two")
    study.follow({"one": node("a"), "two": node("b")})
    cluster.actors["two"].call.end = ray.exceptions.ActorDiedError()
    with caplog.at_level(logging.WARNING):
        study.follow({"one": node("a")})
    assert caplog.records == []
    study.end()
    assert cluster.done == [("end", "one"), ("kill", "one")]


def test_in_the_end_each_is_told_before_any_is_killed_and_none_is_started_any_more(study, cluster, paths):
    nodes = {"one": node("a"), "two": node("b"), "three": node("c")}
    enter(paths, "one")
    enter(paths, "two")
    study.follow(nodes)
    study.end()
    assert cluster.done == [("end", "one"), ("end", "two"), ("kill", "one"), ("kill", "two")]
    enter(paths, "three")
    study.follow(nodes)
    assert list(cluster.actors) == ["one", "two"]


def test_a_ray_that_is_gone_is_asked_for_nothing(cluster, paths):
    gone = threading.Event()
    study = Samplers(paths, SESSION, gone)
    enter(paths, "one")
    study.follow({"one": node("a")})
    gone.set()
    study.end()
    assert cluster.done == []


def test_a_ray_that_does_not_answer_is_not_waited_for_long(study, cluster, paths, monkeypatch):
    enter(paths, "one")
    study.follow({"one": node("a")})
    monkeypatch.setattr(samplers, "END_S", -0.9)
    answers = threading.Event()
    monkeypatch.setattr(samplers.ray, "wait", lambda *_, **__: answers.wait(60))
    study.end()
    cluster.is_there = False
    answers.set()
    for thread in threading.enumerate():
        if thread.name == "end of the samplers":
            thread.join(60)
    assert cluster.done == [("end", "one")], "a Ray that has ended by then is not asked to kill"


@pytest.fixture
def unwatched(monkeypatch):
    """The test process is not ended when a session ends."""
    monkeypatch.setattr(node_sampler, "watch_between_attempts", lambda life: None)


def named(paths):
    if not paths.ledger.exists():
        return []
    return [r["attempts"] for r in read_ledger(paths.ledger).records if r["kind"] == Kind.NODE_BEAT]


def test_a_sampler_names_who_is_at_work_until_it_is_told_to_end(paths, unwatched):
    with session_file(paths.root, SESSION), presence_of(paths.beats, SESSION, "n").entered("a#0", {"n/cpu": 1.0}):
        sampler = NodeSampler(str(paths.root), SESSION, "n", "n/cpu")
        thread = threading.Thread(target=sampler.run)
        thread.start()
        end_s = time.monotonic() + 60
        while not named(paths) and time.monotonic() < end_s:
            time.sleep(0.02)
        sampler.end()
        thread.join(60)
        assert not thread.is_alive()
    assert set(map(tuple, named(paths))) == {("a#0",)}
    [segment] = paths.ledger.glob("*.jsonl")
    assert segment.name.split("-")[1] == "sampler"


def test_one_whose_session_is_over_writes_nothing_and_ends(paths, unwatched, monkeypatch):
    ends = []

    def leave(code):
        ends.append(code)
        raise SystemExit

    with session_file(paths.root, "the next"), presence_of(paths.beats, SESSION, "n").entered("a#0", {"n/cpu": 1.0}):
        monkeypatch.setattr(node_sampler.os, "_exit", leave)
        with pytest.raises(SystemExit):
            NodeSampler(str(paths.root), SESSION, "n", "n/cpu").run()
    assert ends == [node_sampler.EXIT_CODE]
    assert named(paths) == []


def test_its_process_imports_little(request):
    code = (
        "import sys, harness.backends.node_sampler\n"
        "print([name for name in ('torch', 'ray', 'numpy', 'pyarrow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=request.config.rootpath,
        env=os.environ | {"PYTHONPATH": str(request.config.rootpath)},
    )  # fmt: skip
    assert done.stdout == "[]\n"
