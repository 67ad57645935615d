"""What becomes of an exception that ends a command: one line for the user, an exit code, and a log file where it is ours.

Bad input ends with 2, everything else with 1. Known causes have their own words; of an unexpected one the traceback goes
to a file, since it says nothing to most users and everything to who mends it.
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
"""Errors of the operating system that are not ours, in words."""

_INPUT = (errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR)
"""Those of them that only another input can mend."""


class InFolder(Exception):
    """An unexpected exception (its cause) of work on a study's folder, where its log file belongs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


@dataclass(frozen=True)
class Ending:
    """How a command ends: its exit code, and what standard error says after ``error:``; ``further`` are further problems."""

    code: int
    line: str
    further: tuple[str, ...] = ()
    is_told: bool = False
    """Whether the line is on the terminal already."""


@contextmanager
def work_in(folder: Path) -> Iterator[None]:
    """Remember for which folder the block works, should it fail unexpectedly."""
    try:
        yield
    except Exception as error:
        if _expected(error) is not None:
            raise
        raise InFolder(folder) from error


@contextmanager
def quick_interrupt() -> Iterator[None]:
    """A signal ends the process at once while the block runs: nothing is under way, and imports swallow exceptions."""
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
    """What a given path does wrong, as bad input: too long, a circle of links, a character that no path has."""
    from harness.errors import InputError

    reason = _SYSTEM.get(error.errno or 0, error.strerror) if isinstance(error, OSError) else str(error)
    return InputError(f"{one_line(str(path), 120)}: {reason}")


def ending(error: BaseException) -> Ending:
    """What to say of an exception, and the exit code; the traceback of an unexpected one is written to a log file."""
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
    """A user's own file that failed as it would again is bad input."""
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
    """Also torch's, which is a RuntimeError; torch itself need not be imported to know it."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate" in text:
        return Ending(1, _SYSTEM[errno.ENOMEM])
    return None


def _write_log(error: BaseException, folder: Path | None) -> tuple[Path | None, str]:
    """The log file, in the study's folder, else in the temporary one, else in the working folder; or why there is none."""
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
    with suppress(OSError):  # where no temporary folder can be written to
        places.append(Path(tempfile.gettempdir()))
    with suppress(OSError):  # where the working folder was removed
        places.append(Path.cwd())
    return places
