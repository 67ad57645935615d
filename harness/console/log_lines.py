"""Log messages as the user sees them: one line each, safe to print."""

from __future__ import annotations

import logging

from accounting.words.plain_text import one_line, plain, typed_line


class OneLine(logging.Formatter):
    """``WARNING harness.scheduling.scheduler: job x failed: reason``, with an exception's first line or all of it."""

    def __init__(self, *, with_traceback: bool = False) -> None:
        super().__init__()
        self._with_traceback = with_traceback

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        text = f"{record.levelname} {record.name}: {one_line(record.getMessage(), 1000)}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({typed_line(record.exc_info[1])})"
            if self._with_traceback:
                text += "\n" + plain(self.formatException(record.exc_info), keep="\n")
        return text
