"""Who is at work on a node: each attempt enters itself with its processes, and the node's sampler says whom it saw alive.

A folder a session and node, in the study's folder (``.beats``), which the driver makes and removes. An attempt's file there
says what it is and which processes work at it. The file ``named`` is the sampler's: whom its last record of life names. Only
processes of one node read and write that node's folder.
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
    """An attempt at work: its file, what it holds, and its processes on this node."""

    path: Path
    attempt: str
    devices: Mapping[str, float]
    workers: tuple[Worker, ...]


class Presence:
    """The folder of one node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def was_entered(self) -> bool:
        """Whether any attempt has entered itself so far."""
        return self._folder.is_dir()

    def entries(self) -> list[Entry]:
        """All attempts that have entered themselves, by name of their files; none where there is no folder.

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
        """Say whom a record on disk has just named. ``OSError`` where that cannot be written."""
        _write(self._folder / NAMED, {"at_s": time.monotonic(), "attempts": list(attempts)})

    def named_s(self, attempt: str) -> float | None:
        """When a record last named the attempt, by this machine's monotonic clock; None where the last one did not."""
        try:
            said = json.loads((self._folder / NAMED).read_bytes())
            return float(said["at_s"]) if attempt in said["attempts"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def entered(self, attempt: str, devices: Mapping[str, float]) -> Iterator[Entered]:
        """Be there while the block runs, with this process; who cannot enter is not there."""
        entered = Entered(self._folder, attempt, devices)
        entered.work(())
        try:
            yield entered
        finally:
            entered.leave()


class Entered:
    """An attempt's own entry."""

    def __init__(self, folder: Path, attempt: str, devices: Mapping[str, float]) -> None:
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self._attempt, self._devices = attempt, devices

    def work(self, others: Sequence[int]) -> None:
        """Say which other processes work at the attempt, by their ids; this one always does."""
        workers = [found for pid in (os.getpid(), *others) if (found := worker(pid)) is not None]
        if not workers:  # a system without /proc
            return
        said = {"attempt": self._attempt, "devices": dict(self._devices), "workers": workers}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _write(self._path, said)
        except OSError as error:  # a full disk, of which others tell; the attempt beats by itself
            logger.info("attempt %s is not entered for its node's sampler: %s", self._attempt, error)

    def leave(self) -> None:
        """Be there no more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


@contextmanager
def presences(root: Path) -> Iterator[None]:
    """Have no entries of an earlier session when the block begins, and none left when it ends."""
    shutil.rmtree(root, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(root, ignore_errors=True)


def presence_of(root: Path, session: str, node: str) -> Presence:
    """Where the attempts of a session on a node are, below ``root``."""
    return Presence(root / session / node.replace(os.sep, "_"))


def _read(path: Path) -> Entry | None:
    """An entry; None where it is gone by now, or cannot be read."""
    try:
        said = json.loads(path.read_bytes())
        workers = tuple(Worker(int(pid), str(begin)) for pid, begin in said["workers"])
        devices = {str(name): float(amount) for name, amount in said["devices"].items()}
        return Entry(path, str(said["attempt"]), devices, workers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(path: Path, said: Mapping[str, object]) -> None:
    """Whole or not at all for who reads it. It need not outlive a loss of power."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(json.dumps(said).encode())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
