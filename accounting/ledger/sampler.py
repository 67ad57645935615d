"""The sampler of a node: each beat writes one record that names the attempts alive there and what their devices read.

An attempt is alive while it is registered and one of its processes is alive, identified by id and start
(:mod:`accounting.meters.processes`). The time of a record is taken after the registrations were read and before the
processes are checked, so however long the node stalls, every attempt named was alive at that time. While nobody is at
work, nothing is written. When an attempt is over, ``attempt_measured`` records what was seen of it: its energy between
the first look and the last, and means and peaks over all looks.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from accounting.ledger.heartbeat import BEAT_S
from accounting.ledger.presence import Entry, Presence
from accounting.ledger.records import READINGS, Kind
from accounting.ledger.store import LedgerWriter
from accounting.meters.meter import Reading
from accounting.meters.node import NodeReader
from accounting.meters.processes import PROC, lives
from accounting.meters.sampled import DIGITS, Watch
from accounting.study.beside import in_thread

log = logging.getLogger(__name__)


class Sampler:
    """Samples one node. ``ledger`` returns the writer; it is first called when there is something to write."""

    def __init__(
        self,
        presence: Presence,
        ledger: Callable[[], LedgerWriter],
        session: str,
        node: str,
        reader: NodeReader,
        num_cores: float | None = None,
        proc: Path = PROC,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._presence, self._ledger, self._session, self._node = presence, ledger, session, node
        self._reader, self._proc, self._clock = reader, proc, clock
        self._num_cores = float(num_cores or os.cpu_count() or 1)
        self._watched: dict[Path, tuple[str, Watch]] = {}

    def beat(self) -> None:
        """Look once, and record which attempts are alive and which are over.

        Raises:
            OSError, LedgerError: it could not be written; the next beat makes up for it.

        """
        entries = self._presence.entries()
        t = self._clock()
        alive = {entry.path: self._num_alive(entry) for entry in entries}
        named = [entry for entry in entries if alive[entry.path]]
        if named:
            readings = self._readings({device for entry in named for device in entry.devices})
            self._name(t, named, {e.attempt: len(e.workers) - alive[e.path] for e in named}, readings)
        self._finish({entry.path for entry in named})
        for entry in entries:
            if not alive[entry.path]:
                entry.path.unlink(missing_ok=True)

    def end(self) -> None:
        """Look one last time; every attempt still watched is then over."""
        self.beat()
        self._finish(set())

    def _num_alive(self, entry: Entry) -> int:
        """How many of its processes are alive; 0 if the attempt has left, as its process may be at the next one."""
        return sum(lives(worker, self._proc) for worker in entry.workers) if entry.path.exists() else 0

    def _readings(self, devices: set[str]) -> dict[str, Reading]:
        looked = {device: self._reader.sample(device) for device in sorted(devices)}
        return {device: _rounded(reading) for device, reading in looked.items() if reading is not None}

    def _name(self, t: float, named: list[Entry], gone: dict[str, int], readings: dict[str, Reading]) -> None:
        held = Counter(device for entry in named for device in entry.devices)
        some_gone = {attempt: number for attempt, number in gone.items() if number}
        beat = partial(
            self._ledger().append,
            Kind.NODE_BEAT,
            t=t,
            node=self._node,
            session=self._session,
            attempts=[entry.attempt for entry in named],
            readings={
                device: [getattr(readings[device], name) for name in READINGS] for device in held if device in readings
            },
        )
        beat(workers_gone=some_gone) if some_gone else beat()
        for entry in named:
            watch = self._watched.setdefault(entry.path, (entry.attempt, Watch(entry.devices)))[1]
            watch.is_shared |= any(held[device] > 1 for device in entry.devices)
            watch.look(t, readings)
        self._presence.name([entry.attempt for entry in named])

    def _finish(self, alive: set[Path]) -> None:
        for path in [path for path in self._watched if path not in alive]:
            attempt, watch = self._watched[path]
            sampled = watch.sampled(self._reader.meter_of, self._num_cores)
            if sampled is not None:
                self._ledger().append(
                    Kind.ATTEMPT_MEASURED,
                    t=watch.last_t,
                    attempt=attempt,
                    node=self._node,
                    measurement=asdict(sampled),
                )
            del self._watched[path]


def keep_beating(sampler: Sampler, stopped: threading.Event, interval_s: float = BEAT_S) -> None:
    """Beat until ``stopped`` is set, then once more. If writing fails (full disk), the next beat tries again."""
    failed = _tried(sampler.beat, False)
    while not stopped.wait(interval_s):
        failed = _tried(sampler.beat, failed)
    _tried(sampler.end, failed)


@contextmanager
def beating(sampler: Sampler) -> Iterator[None]:
    """Beat in a thread of this process while the block runs."""
    with in_thread("sampler", partial(keep_beating, sampler)):
        yield


def _tried(look: Callable[[], None], failed: bool) -> bool:
    """Whether a look failed; a warning is logged only for the first of consecutive failures."""
    try:
        look()
    except (OSError, ValueError) as error:
        (log.debug if failed else log.warning)("the sampler of this node could not write who is alive: %s", error)
        return True
    return False


def _rounded(reading: Reading) -> Reading:
    """Round away digits that no meter has."""
    return replace(
        reading,
        **{name: round(value, DIGITS) for name in READINGS if (value := getattr(reading, name)) is not None},
    )
