"""What a running study shows: jobs, spend, best so far, from the ledger alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from accounting.ledger import LedgerError
from reports.status import format_status, status

log = logging.getLogger(__name__)

LIVE_S, PLAIN_S = 3.0, 30.0


class Progress(Protocol):
    """Shows a study while it runs."""

    def shown(self, folder: Path) -> AbstractContextManager[None]:
        """Show the study in ``folder`` while the block runs."""
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def shown(self, folder: Path) -> Iterator[None]:
        """See :class:`Progress`."""
        yield


class OnConsole:
    """A live panel on a terminal; elsewhere the same text, now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def shown(self, folder: Path) -> Iterator[None]:
        """See :class:`Progress`."""
        stop = threading.Event()
        live = Live(console=self._console, auto_refresh=False, transient=False) if self._console.is_terminal else None

        def watch() -> None:
            while not stop.wait(LIVE_S if live else PLAIN_S):
                show()

        def show() -> None:
            try:
                text = Text(format_status(status(folder), is_own=not stop.is_set()))
            except (LedgerError, OSError, ValueError) as error:
                log.warning("progress cannot be shown: %s", error)
                return
            if live:
                live.update(text, refresh=True)
            else:
                self._console.print(text, end="\n\n")

        thread = threading.Thread(target=watch, name="progress", daemon=True)
        if live:
            live.start()
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            show()
            if live:
                live.stop()
