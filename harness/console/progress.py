"""The progress of a running study, from its ledger alone: a line per event, or a bar if the terminal can redraw one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from accounting.cost.attempts import derive
from accounting.ledger.records import Record
from accounting.ledger.store import LedgerError, read_ledger
from accounting.study.beside import in_thread
from accounting.words.plain_text import plain
from harness.console import terminal
from harness.console.bar import bar_text
from harness.console.events import Event, Narrator
from harness.console.outlook import Expect
from harness.scheduling.simulated import PlannedJob

Show = Callable[[list[Record], list[Event]], None]
"""Shows all records of the ledger and the new events in them."""

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the ledger is read; less often if reading takes longer than a twentieth of that."""


class Progress(Protocol):
    """Shows a study while it runs."""

    def shown(self, folder: Path, expect: Expect | None = None) -> AbstractContextManager[None]:
        """Show the study in ``folder`` while the block runs; ``expect`` returns its planned jobs."""
        ...

    def tell(self, event: Event) -> None:
        """Show an event that is not in the ledger."""
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def shown(self, folder: Path, expect: Expect | None = None) -> Iterator[None]:
        """See :class:`Progress`."""
        yield

    def tell(self, event: Event) -> None:
        """See :class:`Progress`."""


class Lines:
    """One line per event, as text or as JSON."""

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self._as_json, self._verbose = as_json, verbose

    @contextmanager
    def shown(self, folder: Path, expect: Expect | None = None) -> Iterator[None]:
        """See :class:`Progress`."""

        def show(_records: list[Record], events: list[Event]) -> None:
            for event in events:
                self.tell(event)

        with _watching(folder, show):
            yield

    def tell(self, event: Event) -> None:
        """See :class:`Progress`."""
        if self._verbose or not event.is_detail:
            terminal.say(event.json if self._as_json else event.line)


class OnConsole:
    """A bar with what is done, spent and left, and the events above it; without a terminal only the events."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console, self._verbose = console, verbose

    @contextmanager
    def shown(self, folder: Path, expect: Expect | None = None) -> Iterator[None]:
        """See :class:`Progress`."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            with Lines(verbose=self._verbose).shown(folder, expect):
                yield
            return
        planned = _Planned(expect)
        begin_t = time.time()

        def show(records: list[Record], events: list[Event]) -> None:
            for event in events:
                self.tell(event)
            if records:
                view = derive(records, now=time.time())
                live.update(Text(bar_text(view, planned.jobs, begin_t, self._console.width, folder)), refresh=True)

        with Live(console=self._console, auto_refresh=False) as live, planned, _watching(folder, show):
            yield

    def tell(self, event: Event) -> None:
        """See :class:`Progress`."""
        if self._verbose or not event.is_detail:
            self._console.print(Text(plain(event.line)), soft_wrap=True)


def choose_progress(*, as_json: bool, quiet: bool, verbose: bool) -> Progress:
    """The progress that suits the user's options and the output."""
    if as_json:
        return Lines(as_json=True, verbose=verbose)
    if quiet:
        return Silent()
    return OnConsole(Console(), verbose=verbose) if terminal.can_redraw() else Lines(verbose=verbose)


class _Planned:
    """The planned jobs, found in a separate thread while work begins; ``jobs`` is None until then."""

    def __init__(self, expect: Expect | None) -> None:
        self.jobs: tuple[PlannedJob, ...] | None = None
        self._expect = expect

    def __enter__(self) -> None:
        if self._expect is not None:
            threading.Thread(target=self._find, args=(self._expect,), name="plan", daemon=True).start()

    def __exit__(self, *_: object) -> None:
        """Do nothing: an unfinished plan is no longer needed, and the thread ends with the process."""

    def _find(self, expect: Expect) -> None:
        self.jobs = tuple(expect())


@contextmanager
def _watching(folder: Path, show: Show) -> Iterator[None]:
    """Call ``show(records, events)`` at intervals while the block runs, and once after it."""
    narrator = Narrator(_records(folder))

    def look() -> float:
        begin = time.perf_counter()
        try:
            records = _records(folder)
            show(records, list(narrator.tell(records)))
        except (LedgerError, OSError, ValueError, terminal.CannotWrite) as error:
            log.warning("progress cannot be shown: %s", error)
        return time.perf_counter() - begin

    def watch(over: threading.Event) -> None:
        took_s = 0.0
        while not over.wait(max(LOOK_S, 20 * took_s)):
            took_s = look()

    try:
        with in_thread("progress", watch):
            yield
    finally:
        look()


def _records(folder: Path) -> list[Record]:
    segments = folder / "ledger"
    return list(read_ledger(segments).records) if segments.is_dir() else []
