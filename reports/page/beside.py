"""Draw figures in a second process while this one goes on.

The process is a new one, started before the ledger is read, so it holds nothing of the ledger and imports Matplotlib
meanwhile. It is given one figure at a time, with its rows. What it cannot draw without a word, or within ``LIMIT_S``, this
process draws.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from threading import Timer
from typing import TYPE_CHECKING, BinaryIO

from accounting.study.own_python import own_python
from accounting.words.names import learn_anew
from accounting.words.task import learn_task

if TYPE_CHECKING:  # imports Matplotlib
    from accounting.study.facts import StudyFacts
    from reports.page.render import Asked, Rendered

log = logging.getLogger(__name__)


LIMIT_S = 600.0
"""Seconds for one figure, of which each takes one or two, or half a minute of a large study on a busy machine; the first
one includes loading Matplotlib, and the files may go to slow storage. A process that takes longer is killed."""


class SecondProcess:
    """A process that draws; it fails for good once anything goes wrong."""

    def __init__(self, process: subprocess.Popen[bytes], limit_s: float = LIMIT_S) -> None:
        self._process, self._limit_s = process, limit_s

    def drawn(self, asked: Asked, info: StudyFacts) -> Rendered | None:
        """The figure, whose files are written; None if it must be drawn here.

        Raises:
            OSError, EOFError, UnpicklingError: the process has ended, or was killed because it took too long.

        """
        if self._process.stdin is None or self._process.stdout is None:
            raise EOFError
        limit = Timer(self._limit_s, self._give_up, (asked.name,))
        limit.daemon = True
        limit.start()
        try:
            pickle.dump((info.words, info.task, tuple(asked)), self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
            found: Rendered | None = pickle.load(self._process.stdout)
        finally:
            limit.cancel()
        return found

    def _give_up(self, name: str) -> None:
        log.warning(
            "the figure %s was not drawn by a second process within %.3g minutes; it is drawn here",
            name,
            self._limit_s / 60,
        )
        self._process.kill()

    def end(self) -> None:
        """End the process at once; it writes nothing more."""
        self._process.kill()
        self._process.wait()


@contextmanager
def second_process(*, wanted: bool) -> Iterator[SecondProcess | None]:
    """A process for drawing while the block runs; None if it is not wanted, there is one core, or it cannot start."""
    process = _started() if wanted and _num_cores() > 1 else None
    try:
        yield None if process is None else SecondProcess(process)
    finally:
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was not sent is not needed
                    pipe.close()  # type: ignore[union-attr]
            process.wait()


def _started() -> subprocess.Popen[bytes] | None:
    words, env = own_python("-m", __name__)
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with suppress(OSError):
        return subprocess.Popen(words, env=env, stdin=pipe, stdout=pipe, stderr=nothing)
    return None


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def main(asked: BinaryIO, told: BinaryIO) -> None:
    """The second process: draw what is asked for, until there is no more."""
    from reports.figures import discover
    from reports.page.render import Asked, drawn, prepare

    figures = discover()
    prepare()
    while True:
        try:
            words, task, fields = pickle.load(asked)
        except EOFError:
            return
        learn_anew(words)
        learn_task(task)
        one = Asked(*fields)
        said = io.StringIO()
        with warnings.catch_warnings(record=True) as warned, redirect_stdout(said):
            warnings.simplefilter("always")
            try:
                found = drawn(figures[one.name], one)
            except Exception:  # the first process draws it again, and raises what this raised
                found = None
        pickle.dump(None if warned or said.getvalue() else found, told, protocol=pickle.HIGHEST_PROTOCOL)
        told.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
