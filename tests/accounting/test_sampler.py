"""The sampler of a node: which attempts it names, what it records of devices, and what it says of ended attempts."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path

import pytest
from test_rapl import zone

from accounting.ledger.presence import Presence, presence_of, presences
from accounting.ledger.records import Kind, Record
from accounting.ledger.sampler import Sampler, beating, keep_beating
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.meters.meter import NullReader, Reading, ScriptedReader
from accounting.meters.node import NodeReader
from accounting.meters.processes import Worker, started, worker
from accounting.meters.rapl import RaplReader
from accounting.meters.sampled import Watch

NONE = NodeReader([NullReader()])


class Node:
    """A made-up node: its processes, its attempts and what its sampler wrote."""

    def __init__(self, tmp_path: Path, reader: NodeReader = NONE, num_cores: float = 2) -> None:
        self.proc, self.folder, self.ledger = tmp_path / "proc", tmp_path / "beats", tmp_path / "ledger"
        self.now = 1000.0
        self.writer = LedgerWriter(self.ledger, "s", "sampler", clock=lambda: self.now)
        self.presence = Presence(self.folder)
        self.sampler = Sampler(
            self.presence, lambda: self.writer, "s", "n", reader, num_cores, self.proc, clock=lambda: self.now
        )
        self.folder.mkdir()

    def process(self, pid: int, begin: int = 7, state: str = "S", name: str = "a) Z (b") -> None:
        """Create a live process; its name could be mistaken for its state."""
        (self.proc / str(pid)).mkdir(parents=True, exist_ok=True)
        rest = " ".join(["0"] * 18)
        (self.proc / str(pid) / "stat").write_text(f"{pid} ({name}) {state} {rest} {begin} 0 0\n")

    def kill(self, pid: int) -> None:
        (self.proc / str(pid) / "stat").unlink()

    def attempt(self, name: str, *pids: int, begin: int = 7, **devices: float) -> Path:
        """Register an attempt as its own process does."""
        path = self.folder / f"{name}.json"
        said = {"attempt": name, "devices": devices or {"n/cpu": 1.0}, "workers": [[pid, str(begin)] for pid in pids]}
        path.write_text(json.dumps(said))
        return path

    def beat(self, seconds: float = 2.0) -> None:
        self.now += seconds
        self.sampler.beat()

    def records(self, kind: Kind = Kind.NODE_BEAT) -> list[Record]:
        return [record for record in read_ledger(self.ledger).records if record["kind"] == kind]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_one_record_names_all_who_are_alive(node: Node) -> None:
    node.process(11)
    node.process(12)
    node.attempt("a#0", 11)
    node.attempt("b#0", 12)
    node.beat()
    (beat,) = node.records()
    assert (beat["t"], beat["node"], beat["session"]) == (1002.0, "n", "s")
    assert beat["attempts"] == ["a#0", "b#0"]
    assert beat["readings"] == {}
    assert "workers_gone" not in beat


def test_where_nobody_is_at_work_nothing_is_written(node: Node) -> None:
    node.beat()
    assert node.records() == []


@pytest.mark.parametrize("state", ["Z", "X"])
def test_what_is_left_of_a_dead_process_does_not_live(node: Node, state: str) -> None:
    node.process(11, state=state)
    path = node.attempt("a#0", 11)
    node.beat()
    assert node.records() == []
    assert not path.exists()


def test_another_process_with_the_same_id_is_not_the_attempts(node: Node) -> None:
    node.process(11, begin=7)
    node.attempt("a#0", 11, begin=7)
    node.beat()
    node.process(11, begin=8)
    node.beat()
    assert [beat["t"] for beat in node.records()] == [1002.0]


def test_an_attempt_that_left_before_it_was_looked_at_is_not_named(node: Node) -> None:
    """By then, its process works at another attempt."""
    node.process(11)
    path = node.attempt("a#0", 11)

    def clock() -> float:
        path.unlink()
        return node.now

    node.sampler._clock = clock
    node.beat()
    assert node.records() == []


def test_a_record_says_when_they_lived_and_not_when_the_disk_had_time(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.process(11)
    node.attempt("a#0", 11)

    def late() -> LedgerWriter:
        node.now += 60
        return node.writer

    node.sampler._ledger = late
    node.beat()
    (beat,) = node.records()
    assert (beat["t"], beat["written_t"]) == (1002.0, 1062.0)


def test_an_attempt_of_several_workers_lives_while_one_does_and_the_dead_are_counted(node: Node) -> None:
    for pid in (11, 12, 13):
        node.process(pid)
    node.attempt("a#0", 11, 12, 13)
    node.beat()
    node.kill(12)
    node.beat()
    node.kill(11)
    node.beat()
    node.kill(13)
    node.beat()
    assert [beat.get("workers_gone") for beat in node.records()] == [None, {"a#0": 1}, {"a#0": 2}]


def test_files_that_say_nothing_are_no_attempts(node: Node) -> None:
    node.process(11)
    for name, text in {"x": "", "y": "[]", "z": '{"attempt":"z","devices":{},"workers":[["p"]]}'}.items():
        (node.folder / f"{name}.json").write_text(text)
    (node.folder / ".a.json.5").write_text("half")
    node.attempt("a#0", 11)
    node.beat()
    assert [beat["attempts"] for beat in node.records()] == [["a#0"]]


def test_a_real_process_enters_itself_and_leaves(tmp_path: Path) -> None:
    presence = presence_of(tmp_path, "s", "host/with/slashes")
    assert not presence.was_entered()
    with presence.entered("a#0", {"n/cpu": 1.0}) as entered:
        assert presence.was_entered()
        (entry,) = presence.entries()
        assert (entry.attempt, entry.devices) == ("a#0", {"n/cpu": 1.0})
        assert entry.workers == (worker(os.getpid()),)
        entered.work([os.getppid()])
        (entry,) = presence.entries()
        assert entry.workers == (worker(os.getpid()), worker(os.getppid()))
    assert presence.entries() == []


def test_who_was_named_is_said_to_the_node(tmp_path: Path) -> None:
    presence = Presence(tmp_path)
    assert presence.named_s("a#0") is None
    before = time.monotonic()
    presence.name(["a#0", "b#0"])
    said = presence.named_s("a#0")
    assert said is not None
    assert before <= said <= time.monotonic()
    assert presence.named_s("c#0") is None
    (tmp_path / "named").write_text("torn")
    assert presence.named_s("a#0") is None


def test_entries_of_an_earlier_session_are_gone_and_none_are_left(tmp_path: Path) -> None:
    root = tmp_path / ".beats"
    (root / "old" / "n").mkdir(parents=True)
    with presences(root):
        assert not root.exists()
        with presence_of(root, "s", "n").entered("a#0", {}):
            assert presence_of(root, "s", "n").entries()
    assert not root.exists()


def looks(*energies: float | None, utilisation: float = 0.5) -> list[Reading]:
    return [
        Reading(energy_j=j, utilisation=utilisation, memory_mb=900.0, sm_activity=0.25, power_w=70.0) for j in energies
    ]


def gpus(tmp_path: Path, **script: list[Reading]) -> Node:
    reader = ScriptedReader({name.replace("_", "-"): looks for name, looks in script.items()})
    return Node(tmp_path, NodeReader([reader]))


def measured(node: Node) -> dict[str, dict[str, object]]:
    found = {}
    for record in node.records(Kind.ATTEMPT_MEASURED):
        assert record["node"] == "n"
        assert record["measurement"] is not None
        found[record["attempt"]] = record["measurement"] | {"t": record["t"]}
    return found


def test_what_devices_show_is_in_the_record_and_summed_up_at_the_end(tmp_path: Path) -> None:
    node = gpus(tmp_path, GPU_1=looks(100.0, 250.12345, 400.0))
    node.process(11)
    node.attempt("a#0", 11, **{"GPU-1": 1.0})
    node.beat()
    node.beat()
    node.beat()
    node.kill(11)
    node.beat()
    assert [beat["readings"] for beat in node.records()] == [
        {"GPU-1": [100.0, 0.5, 0.25, 900.0, 70.0]},
        {"GPU-1": [250.123, 0.5, 0.25, 900.0, 70.0]},
        {"GPU-1": [400.0, 0.5, 0.25, 900.0, 70.0]},
    ]
    (got,) = measured(node).values()
    assert got == {
        "t": 1006.0, "seen_s": 4.0, "num_looks": 3, "energy_j": 300.0, "energy": "exclusive", "held_share": 1.0,
        "mean_utilisation": 0.5, "mean_sm_activity": 0.25, "mean_power_w": 70.0, "peak_memory_mb": 900.0,
        "meter": "scripted", "flags": [],
    }  # fmt: skip


def test_two_attempts_on_one_gpu_share_it_by_estimate(tmp_path: Path) -> None:
    node = gpus(tmp_path, GPU_1=looks(0.0, 100.0, 300.0), GPU_2=looks(0.0, 50.0, 80.0))
    for pid in (11, 12, 13):
        node.process(pid)
    node.attempt("half#0", 11, **{"GPU-1": 0.5})
    node.attempt("other#0", 12, **{"GPU-1": 0.5})
    node.attempt("alone#0", 13, **{"GPU-2": 1.0})
    for _ in range(3):
        node.beat()
    node.sampler._finish(set())
    got = measured(node)
    assert {name: (m["energy"], m["energy_j"], m["held_share"]) for name, m in got.items()} == {
        "half#0": ("shared_estimate", 300.0, 0.5),
        "other#0": ("shared_estimate", 300.0, 0.5),
        "alone#0": ("exclusive", 80.0, 1.0),
    }


def test_each_gpu_of_an_attempt_counts_once(tmp_path: Path) -> None:
    node = gpus(tmp_path, GPU_1=looks(0.0, 100.0), GPU_2=looks(1000.0, 1040.0))
    node.process(11)
    node.attempt("a#0", 11, **{"GPU-1": 1.0, "GPU-2": 1.0})
    node.beat()
    node.beat()
    node.kill(11)
    node.sampler._finish(set())
    (got,) = measured(node).values()
    assert (got["energy_j"], got["mean_power_w"], got["energy"]) == (140.0, 140.0, "exclusive")


@pytest.mark.parametrize(
    ("energies", "flags"),
    [((100.0, 3.0, 50.0), ["energy_reset"]), ((None, 3.0, 50.0), []), ((100.0, None, 200.0), [])],
)
def test_a_counter_that_cannot_be_trusted_is_unavailable(
    tmp_path: Path, energies: tuple[float | None, ...], flags: list[str]
) -> None:
    node = gpus(tmp_path, GPU_1=looks(*energies))
    node.process(11)
    node.attempt("a#0", 11, **{"GPU-1": 1.0})
    for _ in range(3):
        node.beat()
    node.sampler._finish(set())
    (got,) = measured(node).values()
    assert (got["energy_j"], got["energy"], got["flags"]) == (None, "unavailable", flags)


def test_a_gpu_that_no_reader_knows_is_flagged(node: Node) -> None:
    node.process(11)
    node.attempt("a#0", 11, **{"MIG-1": 1.0})
    node.beat()
    node.sampler._finish(set())
    (got,) = measured(node).values()
    assert (got["energy"], got["flags"]) == ("unavailable", ["device_unreadable"])


def test_of_cores_without_a_counter_nothing_is_measured(node: Node) -> None:
    node.process(11)
    node.attempt("a#0", 11)
    node.beat()
    node.sampler._finish(set())
    assert measured(node) == {}


def test_a_disk_that_is_full_for_a_while_is_written_to_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = Node(tmp_path)
    node.process(11)
    node.attempt("a#0", 11)
    calls, enough = [0], threading.Event()

    def sometimes() -> LedgerWriter:
        calls[0] += 1
        if calls[0] < 3:
            raise OSError(28, "No space left on device")
        enough.set()
        return node.writer

    node.sampler._ledger = sometimes
    thread_stopped = threading.Event()
    thread = threading.Thread(target=keep_beating, args=(node.sampler, thread_stopped, 0.01))
    with caplog.at_level(logging.WARNING):
        thread.start()
        assert enough.wait(30)
        thread_stopped.set()
        thread.join()
    assert caplog.text.count("could not write who is alive") == 1
    assert node.records()


def test_a_thread_of_this_process_beats_a_last_time_and_ends(tmp_path: Path) -> None:
    presence = Presence(tmp_path / "beats")
    with LedgerWriter(tmp_path / "ledger", "s", "driver") as writer:
        sampler = Sampler(presence, lambda: writer, "s", "n", NONE)
        with presence.entered("a#0", {"n/cpu": 1.0}), beating(sampler):
            pass
    beats = [r for r in read_ledger(tmp_path / "ledger").records if r["kind"] == Kind.NODE_BEAT]
    assert 1 <= len(beats) <= 2, "at once, where the thread was quick, and at the end"
    assert {name for beat in beats for name in beat["attempts"]} == {"a#0"}
    assert not [thread for thread in threading.enumerate() if thread.name == "sampler"]


def test_a_processors_energy_is_shared_by_cores(tmp_path: Path) -> None:
    energy = zone(tmp_path / "powercap", "intel-rapl:0", "package-0", 0)
    node = Node(tmp_path, NodeReader([NullReader(), RaplReader("n/cpu", tmp_path / "powercap")]), num_cores=4)
    node.process(11)
    node.attempt("a#0", 11)
    node.beat()
    energy.write_text("800000\n")
    node.beat()
    node.sampler._finish(set())
    (got,) = measured(node).values()
    assert (got["energy_j"], got["held_share"], got["energy"], got["meter"]) == (0.8, 0.25, "shared_estimate", "rapl")


def test_nothing_seen_is_nothing_measured() -> None:
    assert Watch({"GPU-1": 1.0}).sampled(NONE.meter_of, 1) is None


def test_a_start_is_read_past_any_name(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.process(11, begin=123)
    assert started(11, node.proc) == "123"
    assert started(12, node.proc) is None
    (node.proc / "11" / "stat").write_text("11 (torn")
    assert started(11, node.proc) is None
    assert worker(os.getpid()) == Worker(os.getpid(), str(started(os.getpid())))
