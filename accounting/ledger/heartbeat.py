"""Signs of life of an attempt, so that a sudden death has a time: records of its node's sampler, or else its own.

The sampler of a node names all attempts there in one record every few seconds (:mod:`accounting.ledger.sampler`). An attempt
that it does not name in time (there is no sampler yet, it died, it cannot see this process) writes records of its own.
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
"""How often a sampler names who is alive."""
PATIENCE_S = 2.5
"""After so long without having been named an attempt writes a record of its own."""
LOOK_S = 0.5
"""How often it looks whether it was named."""
UNSEEN_S = PATIENCE_S + LOOK_S
"""``heartbeat_s`` of ``attempt_started``: the longest time between two signs of life, whoever writes them."""


@contextmanager
def heartbeat(
    writer: LedgerWriter,
    attempt: str,
    interval_s: float,
    named_s: Callable[[], float | None] = lambda: None,
    look_s: float | None = None,
) -> Iterator[None]:
    """Append a HEARTBEAT of the attempt whenever nobody has named it for ``interval_s`` seconds, until the block is left.

    ``named_s`` says when it was named last, by the monotonic clock; it is asked every ``look_s`` seconds (default: the
    interval). A heartbeat that cannot be written (full disk, closed writer) is logged and is the last one; the attempt
    continues.

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
    """Be named by the node's sampler while the block runs, or beat; what is given is told of other processes."""
    with (
        presence.entered(attempt, devices) as entered,
        heartbeat(writer, attempt, PATIENCE_S, lambda: presence.named_s(attempt), LOOK_S),
    ):
        yield entered
