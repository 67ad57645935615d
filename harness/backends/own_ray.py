"""A private Ray on this machine, for this run alone: a random token, the loopback interface, a private folder.

Ray's processes bind to the address of their node. On Linux ``ray.init`` does not accept ``127.0.0.1`` as that address.
But Ray has a mode for machines without a network, used on macOS and Windows, in which every port that it opens is bound
to the loopback interface (checked after the start). Other users of the machine lack the token, which only the
environment of our processes has, and folder permissions keep them from the sockets in the file system. docs/security.md
lists the ports.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ray
from ray._private import node as ray_node
from ray._private import ray_constants
from ray._private import worker as ray_worker
from ray._private.authentication import authentication_token_setup as ray_auth

from harness.backends import reaper, signals
from harness.backends.background import TimeUp, run_beside
from harness.backends.replaced import replaced
from harness.cores import num_cores
from harness.errors import InputError, StudyFailed, one_line

log = logging.getLogger(__name__)

PREFIX = "pos-"
MAX_BASE_LENGTH = 26
"""Longest path, in bytes, of the parent of our temporary folder. A socket's path can have at most 107 bytes: the
parent, ``/pos-xxxxxxxx``, ``/session_<date>_<time>_<microseconds>_<pid>``, ``/sockets/plasma_store``."""
# Ray's state accessor stops answering once the thread that called ``ray.init`` has ended, so that thread is kept.
START_S = 120.0
STOP_S = 5.0
KILLED_S = 5.0
"""How long a killed process may take to disappear."""


@contextlib.contextmanager
def own_ray() -> Iterator[threading.Event]:
    """A Ray on this machine with as many CPUs as this process may use, while the block runs.

    If the event that this yields is set, this Ray is dead and is left silently.

    Raises:
        InputError: no writable temporary folder has a path short enough for Ray's sockets.
        StudyFailed: Ray did not start.

    """
    before = set(reaper.children(os.getpid()))
    with _private_folder() as folder, _reaped(folder, before), _environment(folder), loopback(), quiet():
        over, gone = threading.Event(), threading.Event()
        try:
            run_beside(lambda: _start(folder, num_cores()), "start of Ray", signals.check, START_S, over)
        except (ConnectionError, ValueError, RuntimeError, OSError, AssertionError, ray.exceptions.RayError) as error:
            raise StudyFailed(f"Ray did not start on this machine: {one_line(error)}") from None
        try:
            _check_closed()
            yield gone
        finally:
            if not gone.is_set():
                stop_ray()
            over.set()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray from writing to our output; failures are reported by the ledger and in our own words.

    Ray prints dozens of lines about raylets' reports of dead workers to standard output, whatever its settings.
    """
    logger, plain = logging.getLogger("ray"), ray_worker.print_to_stdstream
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    ray_worker.print_to_stdstream = lambda data, ignore_prefix: log.debug("Ray: %s", data.get("lines"))
    try:
        yield
    finally:
        ray_worker.print_to_stdstream = plain
        logger.setLevel(level)


def stop_ray() -> None:
    """Shut this process's Ray down, without waiting for one that no longer answers."""
    try:
        run_beside(ray.shutdown, "end of Ray", limit_s=STOP_S)
    except TimeUp:
        log.debug("Ray did not shut down within %g s", STOP_S)


def dead_processes() -> list[str]:
    """Which of our Ray's main processes (``raylet``, ``gcs_server``) are dead; empty if the Ray is not ours."""
    node = ray_worker._global_node
    if node is None or not node.all_processes:
        return []
    return sorted(str(kind) for kind, _ in node.dead_processes() if kind in ("raylet", "gcs_server"))


def kill_workers() -> None:
    """Kill the processes that run jobs and wait until they are gone, so that nothing else writes to the ledger.

    A worker whose raylet has died is no longer our descendant; it is recognised by the token in its environment.
    """
    killed = set()
    for pid, begin in reaper.descendants([os.getpid()], set()) | _with_our_token():
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            if title.startswith(b"ray::") and b"Agent" not in title and reaper.started(pid) == begin:
                os.kill(pid, signal.SIGKILL)
                killed.add((pid, begin))
    end_s = time.monotonic() + KILLED_S
    while reaper.alive(killed) and time.monotonic() < end_s:
        time.sleep(0.01)


def _with_our_token() -> set[reaper.Process]:
    """The processes of this machine that were started with this run's token."""
    token = os.environ.get("RAY_AUTH_TOKEN")
    return reaper.started_with("RAY_AUTH_TOKEN", token) if token else set()


def mute() -> None:
    """Hide what this process's Ray threads still print about the processes that we end.

    Python's own standard error still goes to the terminal, through another descriptor.
    """
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    with contextlib.suppress(AttributeError, OSError, ValueError):  # only a file needs another descriptor
        if sys.stderr.fileno() == 2:
            sys.stderr = open(kept, "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115


def _start(folder: Path, cpus: int) -> None:
    with _less_ray():
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            num_cpus=cpus,
            _temp_dir=str(folder),
        )


@contextlib.contextmanager
def _less_ray() -> Iterator[None]:
    """Start Ray without its autoscaler, log monitor and dashboard server, which are not used here.

    ``ray.init`` would wait for the dashboard server, which starts even if no dashboard is wanted.
    """

    def no_server(node: ray_node.Node, **_: object) -> None:
        node._webui_url = ""  # Ray's own value if no dashboard is wanted

    with (
        replaced(ray_node.Node, "start_monitor", lambda plain: lambda node: None),
        replaced(ray_node.Node, "start_log_monitor", lambda plain: lambda node: None),
        replaced(ray_node.Node, "start_api_server", lambda plain: no_server),
    ):
        yield


def _check_closed() -> None:
    """Check that nobody else can reach our Ray, since a later version may have changed what this module relies on."""
    node = ray_worker._global_node
    if node is None or not ipaddress.ip_address(node.node_ip_address).is_loopback:
        raise StudyFailed("Ray listens on more than the loopback interface; this version of Ray cannot be used")
    if ray_auth.get_authentication_mode() != ray_auth.AuthenticationMode.TOKEN:
        raise StudyFailed("Ray runs without a token; this version of Ray cannot be used")


@contextlib.contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """The environment that our Ray's processes inherit: a mark, the token, and nothing that would lead elsewhere."""
    changes: dict[str, str | None] = {
        reaper.MARK: str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_AUTH_TOKEN_PATH": None,
        ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
        "RAY_ADDRESS": None,
        "RAY_REDIS_ADDRESS": None,
    }
    with changed_environment(changes):
        yield


@contextlib.contextmanager
def changed_environment(changes: dict[str, str | None]) -> Iterator[None]:
    """Set (or, for None, unset) environment variables while the block runs, and let Ray read its own again."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    ray_auth.Config.initialize("")
    ray_auth.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def loopback() -> Iterator[None]:
    """Ray's mode for machines without a network; its environment variable is read only when Ray is imported."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _private_folder() -> Iterator[Path]:
    """A new folder that only this user can enter, at the first suitable place; a lock marks it as in use."""
    given = [os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp"]
    for base in dict.fromkeys(os.path.realpath(path) for path in given if path):
        if len(os.fsencode(base)) > MAX_BASE_LENGTH:
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        except OSError:
            continue
        break
    else:
        raise InputError(
            f"TMPDIR {tempfile.gettempdir()}: too long for the sockets of Ray, or not writable; name a folder of at most "
            f"{MAX_BASE_LENGTH} bytes, such as TMPDIR=/tmp"
        )
    _remove_left_behind(folder.parent)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind(base: Path) -> None:
    """Remove folders of ours whose lock nobody holds, for example after a power loss."""
    for lock in base.glob(f"{PREFIX}*/lock"):
        with contextlib.suppress(OSError), lock.open("r+") as file:
            if os.fstat(file.fileno()).st_uid == os.getuid():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)


@contextlib.contextmanager
def _reaped(folder: Path, before: set[int]) -> Iterator[None]:
    """Leave no process of our Ray behind, neither after the block nor if this process is killed in it."""
    if not Path("/proc/self/task").exists():
        yield
        return
    command = [sys.executable, "-I", "-S", reaper.__file__, str(os.getpid()), str(folder), *map(str, sorted(before))]
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            watcher.communicate(timeout=reaper.GRACE_S + reaper.LIMIT_S)  # closes its input, which tells it to begin
