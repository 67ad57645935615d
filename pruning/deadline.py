"""Time limits for one analysis of a network's channels: one on its thread's CPU time, one on wall-clock time.

The limit on CPU time ends an endless walk on any machine. The limit on wall-clock time ensures an answer within a
minute, however busy the machine is; if only that one was exceeded, the error says that a less busy machine may succeed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

WORK_LIMIT_S = 40.0
"""CPU seconds of one thread within which channels must be followed, chosen and removed."""
CLOCK_LIMIT_S = 50.0
"""Wall-clock seconds for the same."""
INSTEAD = "prune it by masks instead, such as global_magnitude"


class NotFollowed(ValueError):
    """Torch-Pruning cannot follow how the channels of this network depend on each other; the message has the reason."""


class MachineTooBusy(NotFollowed):
    """The wall-clock limit passed before the CPU limit was used up: trying again can help."""


class Deadline:
    """The limits, counted from now; time spent while :meth:`paused` does not count."""

    def __init__(self, work_limit_s: float | None = None, clock_limit_s: float | None = None) -> None:
        self._work_limit_s = WORK_LIMIT_S if work_limit_s is None else work_limit_s
        self._clock_limit_s = CLOCK_LIMIT_S if clock_limit_s is None else clock_limit_s
        self._work_begin_s, self._clock_begin_s = time.thread_time(), time.monotonic()

    def check(self) -> None:
        """Raise :class:`NotFollowed` if the time is up."""
        worked_s, passed_s = time.thread_time() - self._work_begin_s, time.monotonic() - self._clock_begin_s
        if worked_s > self._work_limit_s:
            raise NotFollowed(
                f"Torch-Pruning has not followed the network's channels within {self._work_limit_s:g} s of work; {INSTEAD}"
            )
        if passed_s > self._clock_limit_s:
            raise MachineTooBusy(
                f"Torch-Pruning has not followed the network's channels within {self._clock_limit_s:g} s, of which this "
                f"busy machine gave it {worked_s:.1f}; try again on a less busy one, or {INSTEAD}"
            )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time that passes inside."""
        work_begin_s, clock_begin_s = time.thread_time(), time.monotonic()
        try:
            yield
        finally:
            self._work_begin_s += time.thread_time() - work_begin_s
            self._clock_begin_s += time.monotonic() - clock_begin_s

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Check at every thousandth function call inside, for code that cannot be made to check itself."""
        before, calls = sys.getprofile(), 0

        def on_call(_frame: object, event: str, _argument: object) -> None:
            nonlocal calls
            if event == "call":
                calls += 1
                if calls % 1000 == 0:
                    self.check()

        sys.setprofile(on_call)
        try:
            yield
        finally:
            sys.setprofile(before)
