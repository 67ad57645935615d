"""A short place for the sockets over which the workers of a DataLoader hand over their batches.

The path of a socket ends at 107 bytes (``sun_path``). In a deep TMPDIR, as batch systems make them, multiprocessing's own
choice is longer, and the loader waits for ever.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from multiprocessing import util

MAX_FOLDER_BYTES = 70
"""107 less what multiprocessing adds: ``/pymp-XXXXXXXX/listener-XXXXXXXX`` and some."""
SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def keep_sockets_short() -> None:
    """Give this process, and the workers it starts, a short folder for sockets, unless theirs is short enough."""
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
