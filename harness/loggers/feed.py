"""Feeds loggers from the ledger while a study runs, each record once, even if the driver is killed.

What a logger has been told is stored in the study's folder (``loggers/<name>.json``), as the last line of each segment
of the ledger. Before a batch is sent, its end is stored as *pending*, afterwards as told. If the driver dies in
between, it is unknown how much of the batch arrived. A logger whose files are in its folder then begins again, since
the ledger has everything. Any other continues after the batch, which it may lack, so that nothing is logged twice.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from accounting.ledger.records import Record
from accounting.ledger.store import LedgerError, read_ledger
from accounting.study import plugins
from accounting.study.beside import in_thread
from accounting.study.folder import StudyFolder
from accounting.words.plain_text import typed_line
from harness.config.study import StudyConfig
from harness.loggers.base import Logger, Run
from harness.loggers.news import NewsOf, offsets_of
from harness.paths import replacing
from harness.stored.written import as_written

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often the ledger is read; less often if reading takes longer than a twentieth of that."""
LAST_S = 60.0
"""How long sending the last news may take when a session ends; a service that does not answer blocks no study."""


@contextmanager
def logged(config: StudyConfig, names: Sequence[str], paths: StudyFolder) -> Iterator[None]:
    """Tell the loggers with these names what happens while the block runs, and at its end what is left."""
    if not names:
        yield
        return

    def watch(over: threading.Event) -> None:
        feeds = [_Feed(name, config, paths) for name in names]
        took_s, is_last = 0.0, False
        while not is_last:
            is_last = over.wait(max(LOOK_S, 20 * took_s))
            begin = time.perf_counter()
            records = _records(paths)
            for feed in feeds:
                feed.look(records)
            took_s = time.perf_counter() - begin
        for feed in feeds:
            feed.close()

    def late() -> None:
        log.warning(
            "%s: the last news was not delivered after %.0f s; the study is not affected", ", ".join(names), LAST_S
        )

    with in_thread("loggers", watch, LAST_S, late):
        yield


class _Feed:
    """One logger, and what it has been told."""

    def __init__(self, name: str, config: StudyConfig, paths: StudyFolder) -> None:
        self._name, self._config, self._folder = name, config, paths.loggers
        self._state = paths.loggers / f"{name}.json"
        self._logger: Logger | None = None
        self._news: NewsOf | None = None
        self._has_failed = False

    def look(self, records: Sequence[Record]) -> None:
        """Send what is new; a logger that fails gets nothing more in this session."""
        if self._has_failed:
            return
        try:
            if self._news is None:
                self._news = NewsOf(records, self._told())
            news = self._news.tell(records)
            if not news:
                return
            if self._logger is None:
                self._logger = self._open()
            told = offsets_of(records)
            self._note(pending=told)
            self._logger.log(news)
            self._note(told=told)
        except Exception as error:
            self._fail(error)

    def close(self) -> None:
        """End the session's logging."""
        if self._logger is None or self._has_failed:
            return
        try:
            self._logger.close()
        except Exception as error:
            self._fail(error)

    def _open(self) -> Logger:
        run = Run(self._config.name, self._run_id(), self._folder / self._name, as_written(self._config))
        return _logger_of(self._name)(run)

    def _fail(self, error: Exception) -> None:
        self._has_failed = True
        log.warning("%s gets nothing more of this session, the study continues: %s", self._name, typed_line(error))

    def _told(self) -> dict[str, int]:
        """The last lines told in earlier sessions, by segment; none if the logger begins again."""
        state = _read(self._state)
        pending = state.get("pending")
        if not isinstance(pending, dict):
            return _offsets(state.get("told"))
        if _logger_of(self._name).BEGINS_ANEW:
            shutil.rmtree(self._folder / self._name, ignore_errors=True)
            self._note(told={})
            return {}
        log.warning("%s may lack what happened just before the last session was cut off", self._name)
        told = _offsets(pending)
        self._note(told=told)
        return told

    def _note(self, *, told: dict[str, int] | None = None, pending: dict[str, int] | None = None) -> None:
        state = _read(self._state)
        state = {"told": state.get("told", {}) if told is None else told, "pending": pending}
        with replacing(self._state) as temporary:
            temporary.write_text(json.dumps(state), encoding="utf-8")

    def _run_id(self) -> str:
        """The run's id, the same for all sessions and loggers of the study."""
        place = self._folder / "run_id"
        if not place.is_file():
            with replacing(place) as temporary:
                temporary.write_text(uuid.uuid4().hex[:16], encoding="utf-8")
        return place.read_text(encoding="utf-8").strip()


def _logger_of(name: str) -> type[Logger]:
    return cast("type[Logger]", plugins.load(plugins.Kind.LOGGER, name).Logger)


def _records(paths: StudyFolder) -> list[Record]:
    try:
        return list(read_ledger(paths.ledger).records) if paths.ledger.is_dir() else []
    except (LedgerError, OSError, ValueError) as error:
        log.warning("loggers: the ledger cannot be read just now: %s", typed_line(error))
        return []


def _read(path: Path) -> dict[str, object]:
    """The content of a state file; empty if it is missing or invalid, so that everything is told from the beginning."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _offsets(said: object) -> dict[str, int]:
    return {str(k): int(v) for k, v in said.items()} if isinstance(said, dict) else {}
