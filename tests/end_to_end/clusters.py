"""Start one-node Ray clusters on the loopback interface with ``ray start --head``, and stop all of their processes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from processes import is_alive, tree

START = "from ray.scripts.scripts import main; main()"
HEAD = "start --head --block --node-ip-address=127.0.0.1 --port=0 --num-cpus=1 --include-dashboard=false"
WORKERS = "--min-worker-port=0 --max-worker-port=0 --object-store-memory=100000000 --disable-usage-stats"


def clean(home, **given):
    """An environment without Ray variables or a token, except those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"HOME": str(home)} | given


@contextmanager
def short_folder():
    """A folder with a path short enough for Ray's sockets; it is removed with its contents."""
    folder = tempfile.mkdtemp(prefix="pos-test-", dir="/tmp")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cluster(root, **given):
    """Start a cluster with ``root`` as its folder and home; yields a function that waits for its address."""
    log = root / "log"
    with log.open("w") as file:
        head = subprocess.Popen(
            [sys.executable, "-c", START, *HEAD.split(), *WORKERS.split(), f"--temp-dir={root}"],
            env=clean(root, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", **given), cwd=root,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def address():
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        return (root / "ray_current_cluster").read_text().strip()

    try:
        yield address
    finally:
        mine = tree(head.pid)
        head.terminate()
        with suppress(subprocess.TimeoutExpired):
            head.wait(20)
        for pid in filter(is_alive, mine):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        head.wait()
