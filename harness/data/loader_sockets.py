"""A short path for the sockets over which a DataLoader's workers return their batches.

A socket's path can have at most 107 bytes (``sun_path``). In a deep TMPDIR, as batch systems create, multiprocessing's
default path is longer, and the loader waits forever.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from multiprocessing import util

MAX_FOLDER_BYTES = 70
"""Longest folder of a socket: a path may have 107 characters, and multiprocessing adds a folder and a name of its own."""
SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def keep_sockets_short() -> None:
    """Give this process and its workers a short folder for sockets, unless theirs is short enough."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if len((config.get("tempdir") or tempfile.gettempdir()).encode()) <= MAX_FOLDER_BYTES:
        return
    for place in SHORT:
        try:
            folder = tempfile.mkdtemp(prefix="pymp-", dir=place)
        except OSError:
            continue
        util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
        config["tempdir"] = folder
        return
