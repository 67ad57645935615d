"""Heartbeats of an attempt, which give a sudden death a time: written by its node's sampler or by the attempt itself.

Every few seconds, the sampler of a node names all attempts there in one record (:mod:`accounting.ledger.sampler`). An
attempt that is not named in time writes records of its own: the sampler may not have started, may have died, or may not
see this process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from accounting.ledger.presence import Entered, Presence
from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter
from accounting.study.beside import in_thread

logger = logging.getLogger(__name__)

BEAT_S = 2.0
"""How often a sampler names the attempts that are alive."""
PATIENCE_S = 2.5
"""An attempt that has not been named for this long writes a record of its own."""
LOOK_S = 0.5
"""How often an attempt checks whether it was named."""
UNSEEN_S = PATIENCE_S + LOOK_S
"""``heartbeat_s`` of ``attempt_started``: the longest time between two heartbeats, whoever writes them."""


@contextmanager
def heartbeat(
    writer: LedgerWriter,
    attempt: str,
    interval_s: float,
    named_s: Callable[[], float | None] = lambda: None,
    look_s: float | None = None,
) -> Iterator[None]:
    """Append a HEARTBEAT of the attempt whenever nobody has named it for ``interval_s`` seconds, while the block runs.

    ``named_s`` returns when it was last named, by the monotonic clock; it is called every ``look_s`` seconds (default:
    the interval). If a heartbeat cannot be written (full disk, closed writer), this is logged and the heartbeat stops;
    the attempt continues.

    Raises:
        ValueError: ``interval_s`` is not positive.

    """
    if interval_s <= 0:
        raise ValueError(f"interval_s must be positive, got {interval_s}")

    def beat(over: threading.Event) -> None:
        last_s = time.monotonic()
        while not over.wait(interval_s if look_s is None else look_s):
            seen_s, now_s = named_s(), time.monotonic()
            if seen_s is not None and last_s < seen_s <= now_s:
                last_s = seen_s
            if look_s is not None and now_s - last_s < interval_s:
                continue
            try:
                writer.append(Kind.HEARTBEAT, attempt=attempt)
            except (OSError, ValueError) as error:
                logger.warning("heartbeat of attempt %s stopped: %s", attempt, error)
                return
            last_s = now_s

    with in_thread(f"heartbeat-{attempt}", beat):
        yield


@contextmanager
def signs_of_life(
    writer: LedgerWriter, attempt: str, devices: Mapping[str, float], presence: Presence
) -> Iterator[Entered]:
    """Have the node's sampler name the attempt while the block runs, and write heartbeats whenever it does not.

    The other processes of the attempt are added to the yielded entry.
    """
    with (
        presence.entered(attempt, devices) as entered,
        heartbeat(writer, attempt, PATIENCE_S, lambda: presence.named_s(attempt), LOOK_S),
    ):
        yield entered
