"""A limit on how long processes that read images may keep their reader waiting for a batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

LIMIT_S = 1500.0
"""Seconds without a batch after which a pass is given up. One process reads a whole batch, so 1,024 images have this long
even where each takes 1.4 s. Workers that share a job wait 30 minutes for each other, so this comes first and is the reason
that is recorded."""
LOOKS = 30
"""How often within the limit a look is taken."""


class Process(Protocol):
    """A process that reads."""

    def kill(self) -> None:
        """End it at once."""
        ...


class Patience:
    """Kills the processes of a pass when nothing has come from them for ``limit_s``; whoever waits for them then goes on."""

    def __init__(self, processes: Callable[[], Iterable[Process]], limit_s: float) -> None:
        self._processes, self._limit_s = processes, limit_s
        self._since: float | None = None
        self.is_over = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for a batch in the block; what is raised there if the processes are killed is up to torch."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def look(self) -> None:
        """Kill the processes if their time is over."""
        since = self._since
        if since is not None and time.monotonic() - since > self._limit_s:
            self.is_over = True
            for process in self._processes():
                process.kill()


@contextmanager
def patience(processes: Callable[[], Iterable[Process]], limit_s: float) -> Iterator[Patience]:
    """The patience with ``processes`` during the block, in which a thread looks at the clock.

    Raises:
        TimeoutError: no batch came within the limit.

    """
    found, over = Patience(processes, limit_s), threading.Event()

    def watch() -> None:
        while not over.wait(limit_s / LOOKS):
            found.look()

    thread = threading.Thread(target=watch, name="read limit", daemon=True)
    thread.start()
    try:
        yield found
    except Exception as error:
        if not found.is_over:
            raise
        raise TimeoutError(
            f"no batch of images was read for {limit_s / 60:.3g} minutes: a process that reads them hangs, or their storage "
            "does not answer"
        ) from error
    finally:
        over.set()
        thread.join()  # it holds on to the processes
