"""Turns an exception that ends a command into one line for the user, an exit code and, if unexpected, a log file.

The exit code is 2 for bad input and 1 for everything else. Known causes have messages of their own. The traceback of an
unexpected exception is written to a file: most users cannot use it, but whoever fixes the bug needs it.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from accounting.words.plain_text import one_line, typed_line
from harness.errors import NO_ROOM

INTERRUPTED = "interrupted; run the same command again to continue"
_TO_END = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))

_SYSTEM = {
    **NO_ROOM,
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n) and run the same command again",
    errno.ENFILE: "the machine has too many open files; close other programs and run the same command again",
    errno.ENOMEM: "out of memory; close other programs, or use fewer jobs at a time or a smaller batch",
    errno.EIO: "the disk or network drive failed to read or write",
    errno.ESTALE: "the network drive lost the file",
    errno.ENAMETOOLONG: "the path is too long for this file system",
    errno.EISDIR: "a folder is where a file should be; move it away, or restore the file from a copy",
    errno.ENOTDIR: "a file is where a folder should be; move it away, or restore the folder from a copy",
    errno.ELOOP: "the path has links that lead in a circle",
}
"""Operating system errors that are not bugs of this program, in words."""

_INPUT = (errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR)
"""Those of them that are bad input, since only another input avoids them."""


class InFolder(Exception):
    """An unexpected exception (its cause) during work on a study's folder, where its log file belongs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


@dataclass(frozen=True)
class Ending:
    """How a command ends: its exit code, what standard error says after ``error:``, and any further problems."""

    code: int
    line: str
    further: tuple[str, ...] = ()
    is_told: bool = False
    """Whether the line has already been printed."""


@contextmanager
def work_in(folder: Path) -> Iterator[None]:
    """Raise an unexpected exception of the block as :class:`InFolder`, so that its log file goes to ``folder``."""
    try:
        yield
    except Exception as error:
        if _expected(error) is not None:
            raise
        raise InFolder(folder) from error


@contextmanager
def quick_interrupt() -> Iterator[None]:
    """While the block runs, a signal ends the process at once: no work has begun, and imports swallow exceptions."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: object) -> NoReturn:
        name = "" if number == signal.SIGINT else f" ({signal.Signals(number).name})"
        with suppress(OSError):
            os.write(2, f"error: {INTERRUPTED.replace('interrupted', f'interrupted{name}', 1)}\n".encode())
        os._exit(1)

    before = {number: signal.getsignal(number) for number in _TO_END}
    heeded = {number: old for number, old in before.items() if old not in (signal.SIG_IGN, None)}  # nohup is respected
    for number in heeded:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, old in heeded.items():
            signal.signal(number, old)


def path_error(path: object, error: OSError | ValueError) -> Exception:
    """What is wrong with a given path, as bad input: too long, a circle of links, a character not allowed in paths."""
    from harness.errors import InputError

    reason = _SYSTEM.get(error.errno or 0, error.strerror) if isinstance(error, OSError) else str(error)
    return InputError(f"{one_line(str(path), 120)}: {reason}")


def ending(error: BaseException) -> Ending:
    """The message and exit code for an exception; the traceback of an unexpected one is written to a log file."""
    folder = error.folder if isinstance(error, InFolder) else None
    cause = error.__cause__ if isinstance(error, InFolder) and error.__cause__ is not None else error
    known = _expected(cause)
    if known is not None:
        return known
    line = typed_line(cause).rstrip(".")
    log, reason = _write_log(cause, folder)
    where = f"details in {log}" if log is not None else f"no log could be written ({reason})"
    return Ending(1, f"unexpected {line}; {where}")


def _expected(error: BaseException) -> Ending | None:
    from accounting.ledger.store import LedgerError
    from harness.console.terminal import CannotWrite
    from harness.errors import InputError, StudyFailed
    from reports.errors import NotAStudy, NotReplaceable

    if isinstance(error, InputError):
        first, *further = map(str, error.args or ("bad input",))
        return Ending(2, first, tuple(further))
    if isinstance(error, (LedgerError, NotAStudy, NotReplaceable)):
        return Ending(2, str(error))
    if isinstance(error, StudyFailed):
        return Ending(1, str(error), is_told=error.is_told)
    if isinstance(error, CannotWrite):
        return Ending(1, str(error))
    if isinstance(error, KeyboardInterrupt):
        return Ending(1, INTERRUPTED)
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # Click's, or that of Typer's own copy
        return Ending(2, " ".join(error.format_message().split()) + " (see --help)")
    return _of_system(error) or _of_memory(error) or _of_plugin(error)


def _of_plugin(error: BaseException) -> Ending | None:
    """Bad input, if a user's own file failed in a way that would repeat."""
    from accounting.study.plugins import fault

    said = fault(error)
    return None if said is None else Ending(2, said)


def _of_system(error: BaseException) -> Ending | None:
    if not isinstance(error, OSError) or error.errno not in _SYSTEM:
        return None
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    text = (f"{names[0]}: " if names else "") + _SYSTEM[error.errno]
    return Ending(2 if error.errno in _INPUT else 1, one_line(text))


def _of_memory(error: BaseException) -> Ending | None:
    """Out of memory, also torch's error, which is a RuntimeError; it is recognised without importing torch."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate" in text:
        return Ending(1, _SYSTEM[errno.ENOMEM])
    return None


def _write_log(error: BaseException, folder: Path | None) -> tuple[Path | None, str]:
    """Write a log file to the study's folder, the temporary one or the working one; its path, or why there is none."""
    text = "".join(traceback.format_exception(error))
    head = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {' '.join(sys.argv)}\n\n"
    name = f"prune-or-search-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"
    reason = ""
    for place in _places(folder):
        path = place / name
        try:
            with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
                file.write(head + text)
            return path, ""
        except OSError as failed:
            reason = failed.strerror or type(failed).__name__
            with suppress(OSError):
                path.unlink()
    return None, reason


def _places(folder: Path | None) -> list[Path]:
    places = [folder] if folder is not None and (folder / "study.yaml").is_file() else []
    with suppress(OSError):  # if no temporary folder can be written to
        places.append(Path(tempfile.gettempdir()))
    with suppress(OSError):  # if the working folder was removed
        places.append(Path.cwd())
    return places
