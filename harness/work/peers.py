"""The other workers of a shared job: child processes of the attempt, which is itself the first worker.

As its children, they run on the attempt's resources (its placement group, its visible GPUs), which are one allocation,
opened and closed once. No worker outlives the attempt: if the first worker is gone, the others end within a second
(:mod:`harness.work.peer`). If another worker dies, the attempt ends and is retried as after any other death.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import torch

from accounting.study.plugins import PluginRecord
from harness.jobs.job import Job
from harness.jobs.work import SharedWork
from harness.training.workers import ALONE, Crew, joined
from harness.work.liveness import Life

NOTICE_S = 3.0
"""Time after an error within which it is known whether a worker's death caused it."""
HUNG_S = 20.0
"""If the first worker has not noticed another one's death for this long, it is waiting in vain."""
END_S = 10.0
"""How long the others may take to end after the first has finished."""


class WorkerLost(RuntimeError):
    """Another worker of the job is gone or failed; the message is one line with the reason."""


class PeerPlace(TypedDict):
    """What another worker is told, as JSON: its rank, the number of workers, where they meet, the job and its study."""

    rank: int
    size: int
    store: str
    job: dict[str, object]
    root: str
    dataset: dict[str, object]
    plugins: list[PluginRecord]
    torch_device: str
    num_threads: int
    checkpoint_every_s: float | None


def is_shared(job: Job) -> bool:
    """Whether several workers can share the job."""
    return isinstance(job.work, SharedWork)


@dataclass
class _Peer:
    rank: int
    process: subprocess.Popen[str]
    heard: threading.Event = field(default_factory=threading.Event)
    """Set when the worker is ready to meet the others, or will never be."""
    is_ready: bool = False
    said: list[str] = field(default_factory=list)
    """Error messages of the worker, if any."""

    def listen(self) -> None:
        """Read the worker's messages until it ends."""
        with suppress(OSError, ValueError):
            for line in self.process.stdout or ():
                with suppress(ValueError):
                    said = json.loads(line)
                    if "error" in said:
                        self.said.append(str(said["error"]))
                    else:
                        self.is_ready = True
                        self.heard.set()
        self.heard.set()


class Peers:
    """The other workers of one job; most jobs have none."""

    def __init__(self, peers: list[_Peer], store: Path) -> None:
        self._peers, self._store = peers, store
        self._dead_since_s: float | None = None

    @property
    def pids(self) -> list[int]:
        """Process ids of these workers."""
        return [peer.process.pid for peer in self._peers]

    def life(self, plain: Life) -> Life:
        """The life of an attempt that also ends if another worker is dead and the first does not notice."""
        return _CrewLife(plain, self) if self._peers else plain

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[Crew]:
        """All workers, as seen by the first, once each is ready.

        Raises:
            WorkerLost: another worker died or failed.

        """
        if not self._peers:
            yield ALONE
            return
        try:
            for peer in self._peers:
                peer.heard.wait()
            if not all(peer.is_ready for peer in self._peers):
                raise RuntimeError("a worker ended before it was ready")
            with joined(0, len(self._peers) + 1, self._store, device) as crew:
                yield crew
            for peer in self._peers:
                peer.process.wait(END_S)
        except (RuntimeError, subprocess.TimeoutExpired):
            self._check(NOTICE_S)
            raise

    def lost(self) -> str | None:
        """Which worker died or failed, and how; None if none did."""
        size = len(self._peers) + 1
        gone = [peer for peer in self._peers if peer.said or peer.process.poll() not in (None, 0)]
        # When a killed worker breaks the connections, the others report errors too; the silent one is the cause.
        for peer in sorted(gone, key=lambda peer: bool(peer.said)):
            code = peer.process.returncode
            how = peer.said[-1] if peer.said else f"it ended with exit code {code}"
            if not peer.said and code is not None and code < 0:
                how = f"it was ended by {_signal_name(-code)}"
            return f"worker {peer.rank} of {size} is lost: {how}"
        return None

    def hung(self) -> str | None:
        """The result of :meth:`lost`, once it has lasted for :data:`HUNG_S`."""
        lost = self.lost()
        if lost is None:
            return None
        if self._dead_since_s is None:
            self._dead_since_s = time.monotonic()
        return lost if time.monotonic() - self._dead_since_s > HUNG_S else None

    def end(self) -> None:
        """End the workers that are left."""
        for peer in self._peers:
            peer.process.kill()
        for peer in self._peers:
            peer.process.wait()
            for pipe in (peer.process.stdin, peer.process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _check(self, wait_s: float) -> None:
        end_s = time.monotonic() + wait_s
        while (lost := self.lost()) is None and time.monotonic() < end_s:
            time.sleep(0.05)
        if lost is not None:
            raise WorkerLost(lost)


@contextmanager
def peers_of(place: PeerPlace | None, size: int) -> Iterator[Peers]:
    """Start a job's other workers; ``place`` is that of worker 1, or None if there is only this process.

    They import what they need while this process prepares.
    """
    with ExitStack() as stack:
        if place is None or size < 2:
            yield Peers([], Path())
            return
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="prune-or-search-workers-"))
        store = Path(folder) / "store"
        peers = Peers([], store)
        stack.callback(peers.end)
        for rank in range(1, size):
            peers._peers.append(_started({**place, "rank": rank, "size": size, "store": str(store)}))
        yield peers


def _started(place: PeerPlace) -> _Peer:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "harness.work.peer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        process_group=0,  # Ctrl-C reaches only the first worker
    )
    peer = _Peer(place["rank"], process)
    threading.Thread(target=peer.listen, name=f"worker {peer.rank}", daemon=True).start()
    with suppress(OSError):  # a worker that is already dead is noticed elsewhere
        if process.stdin is not None:
            process.stdin.write(json.dumps(place) + "\n")
            process.stdin.flush()
    return peer


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _CrewLife(Life):
    def __init__(self, plain: Life, peers: Peers) -> None:
        super().__init__()
        self.lock = plain.lock
        self._plain, self._peers = plain, peers

    def lost(self) -> tuple[str, bool] | None:
        """See :class:`Life`."""
        if (lost := self._plain.lost()) is not None:
            return lost
        hung = self._peers.hung()
        return None if hung is None else (hung, True)
