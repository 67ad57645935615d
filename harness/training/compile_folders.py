"""Temporary folders of compilations. Each is named after its process, so that those of killed processes can be removed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from accounting.meters.processes import PROC, Worker, lives, worker

NAME = "prune-or-search-compiled-"


@contextmanager
def own_folder() -> Iterator[str]:
    """A folder while the block runs; folders that killed processes of this user and machine have left are removed first."""
    here, me = _namespace(), worker(os.getpid())
    whose = "" if here is None or me is None else f"{here}-{me.pid}-{me.started}-"
    sweep()
    with tempfile.TemporaryDirectory(prefix=f"{NAME}{whose}", ignore_cleanup_errors=True) as folder:
        yield folder


def sweep() -> None:
    """Remove the folders of processes that are dead. Another container's are left alone, as its processes are not seen."""
    if (here := _namespace()) is None:
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{NAME}{here}-*"):
        with suppress(OSError, ValueError):
            pid, started, _ = folder.name.removeprefix(f"{NAME}{here}-").split("-", 2)
            is_own = folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()
            if is_own and not lives(Worker(int(pid), started)):
                shutil.rmtree(folder, ignore_errors=True)


def _namespace() -> int | None:
    """The PID namespace of this process; None on a system without one."""
    try:
        return (PROC / "self" / "ns" / "pid").stat().st_ino
    except OSError:
        return None
