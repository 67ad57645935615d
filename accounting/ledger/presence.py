"""Who is at work on a node: each attempt registers with its processes, and the node's sampler says which it saw alive.

The driver makes and removes one folder per session and node, in the study's folder (``.beats``). Each attempt has a
file there with what it holds and the processes that work on it. The sampler's file ``named`` lists the attempts that
its last record on disk names. Only processes of a node read and write the node's folder.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from accounting.meters.processes import Worker, worker

logger = logging.getLogger(__name__)

NAMED = "named"


@dataclass(frozen=True)
class Entry:
    """An attempt at work: its file, its devices, and its processes on this node."""

    path: Path
    attempt: str
    devices: Mapping[str, float]
    workers: tuple[Worker, ...]


class Presence:
    """The folder of one node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def was_entered(self) -> bool:
        """Whether any attempt has registered so far."""
        return self._folder.is_dir()

    def entries(self) -> list[Entry]:
        """All registered attempts, sorted by file name; none if there is no folder.

        Raises:
            OSError: the folder cannot be read.

        """
        try:
            with os.scandir(self._folder) as found:
                names = sorted(entry.name for entry in found if entry.name.endswith(".json"))
        except FileNotFoundError:
            return []
        return [entry for name in names if (entry := _read(self._folder / name)) is not None]

    def name(self, attempts: Sequence[str]) -> None:
        """Record the attempts that a record on disk has just named; raises ``OSError`` if that cannot be written."""
        _write(self._folder / NAMED, {"at_s": time.monotonic(), "attempts": list(attempts)})

    def named_s(self, attempt: str) -> float | None:
        """When the last record named the attempt, by this machine's monotonic clock; None if it did not."""
        try:
            said = json.loads((self._folder / NAMED).read_bytes())
            return float(said["at_s"]) if attempt in said["attempts"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def entered(self, attempt: str, devices: Mapping[str, float]) -> Iterator[Entered]:
        """Register the attempt with this process while the block runs; if that fails, it is just not registered."""
        entered = Entered(self._folder, attempt, devices)
        entered.work(())
        try:
            yield entered
        finally:
            entered.leave()


class Entered:
    """The registration of one attempt."""

    def __init__(self, folder: Path, attempt: str, devices: Mapping[str, float]) -> None:
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self._attempt, self._devices = attempt, devices

    def work(self, others: Sequence[int]) -> None:
        """Set the other processes that work on the attempt, by id; this process is always included."""
        workers = [found for pid in (os.getpid(), *others) if (found := worker(pid)) is not None]
        if not workers:  # a system without /proc
            return
        said = {"attempt": self._attempt, "devices": dict(self._devices), "workers": workers}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _write(self._path, said)
        except OSError as error:  # a full disk, reported elsewhere; the attempt writes its own heartbeats
            logger.info("attempt %s is not entered for its node's sampler: %s", self._attempt, error)

    def leave(self) -> None:
        """Remove the registration."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


@contextmanager
def presences(root: Path) -> Iterator[None]:
    """Remove registrations of earlier sessions when the block begins, and all when it ends."""
    shutil.rmtree(root, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(root, ignore_errors=True)


def presence_of(root: Path, session: str, node: str) -> Presence:
    """The folder, below ``root``, for the attempts of a session on a node."""
    return Presence(root / session / node.replace(os.sep, "_"))


def _read(path: Path) -> Entry | None:
    """The entry in a file; None if it is gone by now or cannot be read."""
    try:
        said = json.loads(path.read_bytes())
        workers = tuple(Worker(int(pid), str(begin)) for pid, begin in said["workers"])
        devices = {str(name): float(amount) for name, amount in said["devices"].items()}
        return Entry(path, str(said["attempt"]), devices, workers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(path: Path, said: Mapping[str, object]) -> None:
    """Write a file so that readers see all of it or nothing. It need not survive a power failure."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(json.dumps(said).encode())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
