"""Signs of life of an attempt: while it runs, a record every few seconds, so that a sudden death has a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter

logger = logging.getLogger(__name__)


@contextmanager
def heartbeat(writer: LedgerWriter, attempt: str, interval_s: float) -> Iterator[None]:
    """Append a HEARTBEAT of the attempt every ``interval_s`` seconds until the block is left.

    A heartbeat that cannot be written (full disk, closed writer) is logged and is the last one; the attempt continues.

    Raises:
        ValueError: ``interval_s`` is not positive.

    """
    if interval_s <= 0:
        raise ValueError(f"interval_s must be positive, got {interval_s}")
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(interval_s):
            try:
                writer.append(Kind.HEARTBEAT, attempt=attempt)
            except (OSError, ValueError) as error:
                logger.warning("heartbeat of attempt %s stopped: %s", attempt, error)
                return

    thread = threading.Thread(target=beat, name=f"heartbeat-{attempt}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
