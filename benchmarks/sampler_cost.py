"""The cost of a node's sampler: its share of one processor core, by the number of attempts on the node.

usage: python -m benchmarks.sampler_cost [--attempts 8 64] [--seconds 60] [--record]

*sampler* is a process that does nothing but beat every 2 s, with 8 scripted GPUs of which each attempt holds a share,
and for each attempt two real processes that it checks for being alive; its records go to a real ledger (fsync
included). *actor* is a sampler's whole process as in a study: a Ray actor with whatever this machine's readers read,
Ray's own threads included. *look_of_one_attempt* is what an attempt takes to check, every 0.5 s, whether it was named.
None of them includes start-up and imports. The limit is 1 % of a core for *sampler*; it exits 1 if that is exceeded.
``--record`` appends a row per number of attempts to benchmarks/results/sampler_cost.jsonl; do that on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from accounting.ledger.heartbeat import BEAT_S, LOOK_S
from accounting.ledger.presence import Presence, presence_of
from accounting.ledger.records import Kind
from accounting.ledger.sampler import Sampler, keep_beating
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.meters.meter import MeterName, Reading
from accounting.meters.node import NodeReader
from accounting.study.folder import StudyFolder

RESULTS = Path(__file__).with_name("results") / "sampler_cost.jsonl"
GPUS = tuple(f"GPU-{n:08x}-0000-4000-8000-000000000000" for n in range(8))
SESSION, NODE = "20261127T000000Z-abcdef", "a-node-of-a-cluster-0a1b2c"
MOST = 0.01
NUM_LOOKS = 2000


class ScriptedGpus:
    """Eight devices with rising energy counters."""

    meter: MeterName = "scripted"

    def __init__(self) -> None:
        self._energy_j = 0.0

    def devices(self) -> tuple[str, ...]:
        """UUIDs of the devices."""
        return GPUS

    def read(self, device: str) -> Reading:
        """The next reading."""
        self._energy_j += 700.125
        return Reading(self._energy_j, 0.87, 61_234.567, 0.61, 512.25)

    def sample(self, device: str) -> Reading:
        """The same as :meth:`read`."""
        return self.read(device)


@contextmanager
def at_work(presence: Presence, num_attempts: int) -> Iterator[None]:
    """Keep ``num_attempts`` attempts present, each with this process and one that sleeps."""
    share = min(1.0, len(GPUS) / num_attempts)
    with ExitStack() as stack:
        for number in range(num_attempts):
            worker = stack.enter_context(subprocess.Popen(["sleep", "3600"]))
            stack.callback(worker.kill)
            name = f"search-r0-candidate-{number:03d}#{number:08x}"
            entered = stack.enter_context(presence.entered(name, {GPUS[number % len(GPUS)]: share}))
            entered.work([worker.pid])
        yield


def _beat(folder: str, seconds: float, told: multiprocessing.SimpleQueue[tuple[float, float]]) -> None:
    """Beat for ``seconds`` in a process of its own, and put its processor and wall-clock seconds into ``told``."""
    paths, ended = StudyFolder(Path(folder)), threading.Event()
    with LedgerWriter(paths.ledger, SESSION, "sampler") as ledger:
        sampler = Sampler(
            presence_of(paths.beats, SESSION, NODE), lambda: ledger, SESSION, NODE, NodeReader([ScriptedGpus()])
        )
        threading.Timer(seconds, ended.set).start()
        begin_s, begin_cpu_s = time.monotonic(), time.process_time()
        keep_beating(sampler, ended)
        told.put((time.process_time() - begin_cpu_s, time.monotonic() - begin_s))


def sampler_share(num_attempts: int, seconds: float) -> tuple[float, float]:
    """The share of a core that beating takes, and the share that an attempt takes to check whether it was named."""
    spawning = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        paths = StudyFolder(Path(folder))
        presence = presence_of(paths.beats, SESSION, NODE)
        with at_work(presence, num_attempts):
            told = spawning.SimpleQueue()
            process = spawning.Process(target=_beat, args=(folder, seconds, told))
            process.start()
            cpu_s, wall_s = told.get()
            process.join()
            begin_cpu_s = time.process_time()
            for _ in range(NUM_LOOKS):
                assert presence.named_s("search-r0-candidate-000#00000000") is not None
            look_s = (time.process_time() - begin_cpu_s) / NUM_LOOKS
        beats = [record for record in read_ledger(paths.ledger).records if record["kind"] == Kind.NODE_BEAT]
        assert len(beats) >= seconds / BEAT_S - 1
        assert all((len(b["attempts"]), len(b["readings"])) == (num_attempts, min(8, num_attempts)) for b in beats)
    return cpu_s / wall_s, look_s / LOOK_S


def actor_share(num_attempts: int, seconds: float) -> float:
    """The share of a core that a sampler's whole process takes, in a Ray started for this."""
    import ray

    from harness.backends.node_sampler import NodeSampler
    from harness.backends.own_ray import own_ray
    from harness.work.liveness import session_file

    with tempfile.TemporaryDirectory() as folder, own_ray(), session_file(Path(folder), SESSION):
        paths = StudyFolder(Path(folder))
        with at_work(presence_of(paths.beats, SESSION, NODE), num_attempts):
            sampler = ray.remote(NodeSampler).options(num_cpus=0, max_concurrency=2)
            actor = sampler.remote(folder, SESSION, NODE, f"{NODE}/cpu")
            run = actor.run.remote()
            pid = ray.get(actor.__ray_call__.remote(_pid))
            while not list(paths.ledger.glob("*.jsonl")):
                time.sleep(0.1)
            begin_s, begin_cpu_s = time.monotonic(), _cpu_s(pid)
            time.sleep(seconds)
            share = (_cpu_s(pid) - begin_cpu_s) / (time.monotonic() - begin_s)
            ray.get([actor.end.remote(), run])
    return share


def _pid(_actor: object) -> int:
    return os.getpid()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print a row per number of attempts; exits 1 if the sampler takes a larger share of a core than ``MOST``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--attempts", type=int, nargs="+", default=[8, 64], help="on the node")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    parser.add_argument("--record", action="store_true", help=f"append to {RESULTS.name}")
    options = parser.parse_args()
    worst = 0.0
    for num_attempts in options.attempts:
        sampler, look = sampler_share(num_attempts, options.seconds)
        row = {
            "t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "python": platform.python_version(),
            "machine": f"{os.cpu_count()} CPU cores", "load_1min": round(os.getloadavg()[0], 1),
            "num_attempts": num_attempts, "num_gpus": len(GPUS), "seconds": options.seconds,
            "sampler": round(sampler, 5), "actor": round(actor_share(num_attempts, options.seconds), 5),
            "look_of_one_attempt": round(look, 6),
        }  # fmt: skip
        line = json.dumps(row)
        print(line, flush=True)
        if options.record:
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        worst = max(worst, sampler)
    sys.exit(1 if worst > MOST else 0)


if __name__ == "__main__":
    main()
