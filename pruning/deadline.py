"""How long one answer about a network's channels may take: so much work of its thread, and so much time by the clock.

Work is counted so that an endless walk ends on any machine; the clock, so that whoever asks is answered within a minute
however busy the machine is. What the clock alone ended may work on a less busy one, and says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

WORK_LIMIT_S = 40.0
"""Seconds of one thread's work in which channels must be followed, chosen and removed."""
CLOCK_LIMIT_S = 50.0
"""Seconds by the clock for the same."""
INSTEAD = "prune it by masks instead, such as global_magnitude"


class NotFollowed(ValueError):
    """Torch-Pruning cannot follow how the channels of this network depend on each other; the message has its reason."""


class MachineTooBusy(NotFollowed):
    """It was not done in time, though it had not worked for as long as it may: trying again can help."""


class Deadline:
    """The limits from now on, but for what is done while :meth:`paused`."""

    def __init__(self, work_limit_s: float | None = None, clock_limit_s: float | None = None) -> None:
        self._work_limit_s = WORK_LIMIT_S if work_limit_s is None else work_limit_s
        self._clock_limit_s = CLOCK_LIMIT_S if clock_limit_s is None else clock_limit_s
        self._work_begin_s, self._clock_begin_s = time.thread_time(), time.monotonic()

    def check(self) -> None:
        """Raise :class:`NotFollowed` where the time is up."""
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
        """What is done inside takes none of the time."""
        work_begin_s, clock_begin_s = time.thread_time(), time.monotonic()
        try:
            yield
        finally:
            self._work_begin_s += time.thread_time() - work_begin_s
            self._clock_begin_s += time.monotonic() - clock_begin_s

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Check at every thousandth call of a function inside: for code that cannot be asked to check itself."""
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
