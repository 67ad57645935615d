"""However a trial ends, the searcher is told the reason by Ray Tune itself, on a Ray of our own."""

import errno
import json
import logging
import random
from collections import Counter
from types import SimpleNamespace

import pytest
import ray
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from some_jobs import job

from accounting.ledger.records import Kind
from accounting.study.folder import StudyFolder
from harness.backends import tune
from harness.backends.allocations import Allocations
from harness.backends.own_ray import own_ray
from harness.backends.room import Room, fit, held_key
from harness.backends.tune_control import KEEP_IDLE_S, PatientCache, changed_tune
from harness.backends.tune_jobs import JobSearcher, ray_resources
from harness.config.resources import JobShape
from harness.jobs.files import Given
from harness.jobs.job import Done, Wait

MEMORY = ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory.\nThe node has 4 GB.")


class Jobs:
    """A scheduler with one job per name; the jobs never wait for one another."""

    def __init__(self, names):
        self.todo, self.told, self.num = list(names), {}, len(names)

    def next(self):
        if self.todo:
            return job(self.todo.pop(0))
        return Done() if len(self.told) == self.num else Wait()

    def given(self, job):
        return Given()

    def tell(self, job, outcome):
        assert job.id.step not in self.told
        self.told[job.id.step] = outcome


def nodes_of(*cpus):
    return {f"n{i}": {"Resources": {"CPU": float(amount)}} for i, amount in enumerate(cpus)}


def searcher_of(scheduler, place, max_attempts, cpus, *, shape_of=lambda job: JobShape(1, 0, 1), **options):
    return JobSearcher(scheduler, place, max_attempts, shape_of, "cpu", nodes_of(*cpus), **options)


def searcher_with(trial, name="a", max_attempts=1):
    searcher = searcher_of(scheduler := Jobs([name]), {}, max_attempts, [1])
    searcher.suggest(trial)
    return searcher, scheduler


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MEMORY, "OutOfMemoryError: Task was killed due to the node running low on memory."),
        (ray.exceptions.NodeDiedError("node 7 is gone"), "NodeDiedError: node 7 is gone"),
        (ray.exceptions.ActorDiedError(), "The actor died unexpectedly before finishing this task."),
        (ValueError("no such thing\nat all"), "no such thing"),
    ],
)
def test_a_trial_that_fails_is_told_with_its_error(error, reason):
    searcher, scheduler = searcher_with("t1")
    trial = Trial("no such trainable", trial_id="t1", stub=True)
    with changed_tune(searcher.failed):
        trial.handle_error(error)
        trial.handle_error(error)
    assert scheduler.told["a"].reason == reason
    assert not scheduler.told["a"].ok
    assert trial.num_failures == 2


def test_a_preempted_trial_is_tried_again_by_the_searcher_and_not_by_tune():
    searcher, scheduler = searcher_with("t1")
    trial = Trial("no such trainable", trial_id="t1", stub=True, max_failures=0)
    with changed_tune(searcher.failed):
        trial.handle_error(ray.exceptions.RayActorError(preempted=True))
    assert not trial.should_recover()
    assert scheduler.told == {}
    assert '"job": "prune-r0-a"' in searcher.suggest("t2")["job"]


def test_a_full_disk_of_a_worker_ends_the_session_at_its_first_attempt():
    searcher, scheduler = searcher_with("t1", max_attempts=3)
    full = OSError(errno.ENOSPC, "No space left on device")
    searcher.failed("t1", ray.exceptions.RayTaskError("train", "Traceback of the worker", full))
    assert (scheduler.told["a"].ends_session, scheduler.told["a"].final) == (True, False)
    assert scheduler.told["a"].reason.startswith("the disk is full; free some space")


def test_routes_that_wait_for_nothing_end_the_run():
    class Waits(Jobs):
        def next(self):
            return Wait()

        def stuck(self):
            self.num = "stuck"

    searcher = searcher_of(scheduler := Waits([]), {}, 1, [1])
    assert searcher.suggest("t1") == "FINISHED"
    assert scheduler.num == "stuck"


def test_tune_is_as_it_was_afterwards():
    before = Trial.handle_error, TuneController._maybe_reuse_cached_actor
    with pytest.raises(KeyError), changed_tune(lambda trial, error: None):
        assert (Trial.handle_error, TuneController._maybe_reuse_cached_actor) != before
        raise KeyError
    assert (Trial.handle_error, TuneController._maybe_reuse_cached_actor) == before


class Controller(SimpleNamespace):
    """The attributes that are read when an actor is chosen."""

    def __init__(self, trial, own, started):
        super().__init__(
            _trial_to_actor={} if own is None else {trial: own},
            _resetting_trials=set(),
            _actor_manager=SimpleNamespace(is_actor_started=lambda actor: started),
            _actor_cache=SimpleNamespace(has_cached_object=lambda request: False),
        )


@pytest.mark.parametrize(("own", "started", "asks"), [(None, False, True), ("own", False, True), ("own", True, False)])
def test_a_trial_whose_own_actor_is_starting_takes_no_other(monkeypatch, own, started, asks):
    asked = []
    monkeypatch.setattr(TuneController, "_maybe_reuse_cached_actor", lambda self, trial: asked.append(trial) or True)
    with changed_tune(lambda trial, error: None):
        taken = TuneController._maybe_reuse_cached_actor(Controller("t", own, started), "t")
    assert taken is asks
    assert bool(asked) is asks


def test_idle_actors_are_kept_for_a_while():
    now_s = [100.0]
    cache = PatientCache(clock=lambda: now_s[0])
    assert cache.cache_object("shape", "a")
    now_s[0] += 1
    assert cache.cache_object("shape", "b")
    assert list(cache.flush_cached_objects()) == []
    now_s[0] += KEEP_IDLE_S - 1
    assert list(cache.flush_cached_objects()) == ["a"]
    assert cache.num_cached_objects == 1
    assert cache.pop_cached_object("shape") == "b"
    assert not cache.has_cached_object("shape")
    assert cache.cache_object("shape", "b")
    assert list(cache.flush_cached_objects(force_all=True)) == ["b"]
    assert cache.num_cached_objects == 0


def test_a_dead_actor_has_no_default_result(monkeypatch):
    def dead(self):
        raise MEMORY

    monkeypatch.setattr(Trial, "_get_default_result_or_future", dead)
    trial = Trial("no such trainable", trial_id="t1", stub=True)
    with changed_tune(lambda trial, error: None):
        assert trial.last_result == {"trial_id": "t1"}


def test_no_more_trials_than_allowed_are_under_way():
    searcher = searcher_of(Jobs("abc"), {}, 1, [1])
    assert [searcher.suggest(f"t{i}") is not None for i in range(3)] == [True, True, False]
    searcher.nodes = nodes_of(1, 1)
    assert searcher.suggest("t3") is not None


def test_each_trial_is_given_what_its_phase_holds_and_none_passes_one_that_waits_for_more():
    held = {"a": JobShape(1, 0, 1), "b": JobShape(2, 0, 2), "c": JobShape(1, 0, 1)}
    searcher = searcher_of(Jobs("abc"), {}, 1, [2], shape_of=lambda job: held[job.id.step])
    configs = {name: searcher.suggest(name) for name in "ab"}
    assert [json.loads(configs[name]["held"]) for name in "ab"] == [{"CPU": 1}, {"CPU": 2}]
    assert [json.loads(configs[name]["place"])["num_workers"] for name in "ab"] == [1, 2]
    assert searcher.suggest("c") is None  # one core is free, but b waits for two
    searcher.on_trial_complete("a", {"outcome": json.dumps({"ok": True})})
    assert searcher.suggest("c") is not None  # b runs now, so c may follow


def test_no_running_job_is_asked_what_it_holds_when_another_is_proposed():
    asked = Counter()

    def shape_of(job):
        asked[job.id.step] += 1
        return JobShape(1, 0, 1)

    searcher = searcher_of(Jobs([f"j{n}" for n in range(50)]), {}, 1, [100], shape_of=shape_of)
    for n in range(50):
        assert searcher.suggest(f"t{n}") is not None
    assert max(asked.values()) <= 2
    for n in range(50):
        searcher.on_trial_complete(f"t{n}", {"outcome": json.dumps({"ok": True})})
    assert max(asked.values()) <= 3
    assert sum(searcher._alike.values()) == 0


def test_nodes_are_looked_at_once_for_jobs_that_hold_the_same():
    looks = []

    class Noted(dict):
        def get(self, name, default=None):
            looks.append(name)
            return super().get(name, default)

    room = Room({f"n{i}": {"Resources": Noted(CPU=4.0)} for i in range(100)})
    one = held_key({"CPU": 1})
    assert [room.fits({one: count}) for count in (0, 1, 399, 400, 401)] == [True, True, True, True, False]
    assert len(looks) == 100


@pytest.mark.parametrize(
    ("jobs", "cpus", "fits"),
    [
        ([], [1], True),
        ([1, 1], [2], True),
        ([1, 1, 1], [2], False),
        ([2], [1, 1], False),
        ([1, 2, 1], [2, 2], True),
        ([0.5, 0.5, 1], [1, 1], True),
        ([0.1] * 10, [1], True),
    ],
)
def test_jobs_fit_where_each_has_room_on_one_node(jobs, cpus, fits):
    assert fit([{"CPU": amount} for amount in jobs], nodes_of(*cpus)) is fits


def test_a_gpu_job_holds_cores_beside_its_gpus():
    assert ray_resources(JobShape(2, 8, 2), "cuda") == {"CPU": 8, "GPU": 2}
    assert not fit([{"CPU": 8, "GPU": 2}], {"n": {"Resources": {"CPU": 8.0}}})


def one_by_one(jobs, nodes):
    """Place each job on the first node with room, the largest job first."""
    free = [{**node["Resources"]} for node in nodes.values()]
    for cores in sorted((held["CPU"] for held in jobs), reverse=True):
        node = next((node for node in free if node["CPU"] >= cores - 1e-9), None)
        if node is None:
            return False
        node["CPU"] -= cores
    return True


@pytest.mark.parametrize("seed", range(20))
def test_jobs_that_are_alike_are_placed_together_as_they_would_be_one_by_one(seed):
    rng = random.Random(seed)
    seen = set()
    for _ in range(50):
        nodes = nodes_of(*(rng.choice([1, 2, 4, 7]) for _ in range(rng.randint(1, 6))))
        jobs = [{"CPU": rng.choice([0.25, 0.5, 1, 2, 3])} for _ in range(rng.randint(0, 14))]
        seen.add(fit(jobs, nodes))
        assert fit(jobs, nodes) == one_by_one(jobs, nodes), (jobs, nodes)
    assert seen == {True, False}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_way_to_fail_reaches_the_searcher_with_its_reason(tmp_path, caplog):
    folder = tmp_path / "seen"
    folder.mkdir()

    def fails(config):
        """Fail as the job's name says, at the first attempt, or with ``always`` at every attempt."""
        import json
        import os
        import signal
        from pathlib import Path

        from ray import tune

        name = json.loads(config["job"])["job"].removeprefix("prune-r0-")
        number = len(list(Path(json.loads(config["place"])["seen"]).glob(f"{name}.*")))
        (Path(json.loads(config["place"])["seen"]) / f"{name}.{number}").touch()
        if name == "killed" and not number:
            os.kill(os.getpid(), signal.SIGKILL)
        elif name == "left" and not number:
            os._exit(75)
        elif name in ("raised", "always") and (not number or name == "always"):
            raise ValueError("no such layer")
        elif name == "silent" and not number:
            return
        tune.report({"outcome": json.dumps({"ok": True, "metrics": {"name": name}})})

    scheduler = Jobs(["fine", "killed", "left", "raised", "always", "silent", "last"])
    lost = {}
    searcher = searcher_of(scheduler, {"seen": str(folder)}, 2, [2], on_lost=lost.__setitem__)
    with own_ray(), caplog.at_level(logging.INFO):
        tune._fit(searcher, fails, StudyFolder(tmp_path / "study"), "cpu")
    told = scheduler.told
    assert {name: told[name].ok for name in told} == {name: name != "always" for name in told}
    assert told["always"].reason == "ValueError: no such layer"
    assert len(told) == 7
    attempts = Counter(path.stem for path in folder.iterdir())
    assert attempts == {"fine": 1, "killed": 2, "left": 2, "raised": 2, "always": 2, "silent": 2, "last": 1}
    said = {
        record.args[2].removeprefix("prune-r0-"): record.args[3]
        for record in caplog.records
        if "attempt %d of %d" in str(record.msg)
    }
    assert said["raised"] == said["always"] == "ValueError: no such layer"
    assert said["silent"] == "the worker ended without an outcome"
    assert "died" in said["killed"]
    assert "died" in said["left"]
    assert lost == {f"prune-r0-{name}": said[name] for name in ("killed", "left", "silent")}
    assert not (tmp_path / "study" / ".tune").exists()


class Rounds(Jobs):
    """Two jobs at a time; the next two wait for both."""

    def __init__(self, num_rounds):
        super().__init__([f"{number}-{place}" for number in range(num_rounds) for place in "ab"])

    def next(self):
        given = self.num - len(self.todo)
        return Wait() if given % 2 == 0 and len(self.told) < given else super().next()


class Records(list):
    """A ledger that only keeps its records in memory."""

    def append(self, kind, **fields):
        super().append((kind, fields))


@pytest.mark.timeout(240)
def test_short_jobs_use_every_device_and_no_worker_starts_in_vain(tmp_path):
    (tmp_path / "seen").mkdir()

    def works(config):
        import json
        import time
        from pathlib import Path

        import ray
        from ray import tune

        group = ray.util.get_current_placement_group().id.hex()
        (Path(json.loads(config["place"])["seen"]) / f"{json.loads(config['job'])['job']}.{group}").touch()
        time.sleep(0.5)
        tune.report({"outcome": json.dumps({"ok": True, "metrics": {}})})

    scheduler, records = Rounds(8), Records()
    with own_ray() as gone:
        cores = ray.cluster_resources()["CPU"]
        searcher = searcher_of(
            scheduler, {"seen": str(tmp_path / "seen")}, 1, [cores], shape_of=lambda job: JobShape(cores / 2, 0, 1)
        )
        allocations = Allocations(records, "s", "cuda", [], lambda node: [], gone)
        with allocations.watched():
            tune._fit(searcher, works, StudyFolder(tmp_path / "study"), "cpu")
    assert len(scheduler.told) == 16
    used = {path.suffix[1:] for path in (tmp_path / "seen").iterdir()}
    opened = {fields["allocation"].partition("@")[0] for kind, fields in records if kind == Kind.ALLOCATION_OPENED}
    assert opened == used
    assert len(used) == 2
