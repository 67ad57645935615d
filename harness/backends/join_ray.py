"""Joins a running Ray cluster (``--address``), and explains why if that fails.

Ray itself takes up to a minute to report that nobody answers, and looks for no token when it is given an address. So
the address is tried first, in steps with a time limit each: does anything listen, does it speak gRPC (both in
``harness/backends/address.py``), is it a Ray head, does it want a token, is ours the right one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import ray
from ray._private import services
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled, without types

from harness.backends import signals
from harness.backends.address import CONNECT_S, NOT_RAY, check_answers, host_and_port
from harness.backends.background import TimeUp, run_beside
from harness.backends.own_ray import changed_environment, loopback, quiet, stop_ray
from harness.errors import InputError, one_line

GCS_S, INIT_S = 6.0, 60.0
MAX_TOKEN = 4096
"""Length in bytes of the longest token that is tried; Ray's have 64."""
GET_TOKEN = "(`ray get-auth-token` prints it on the head node)"


def check_entry(address: str) -> None:
    """Check, within seconds and without joining, that the cluster at ``address`` would let us in.

    Raises:
        InputError: it would not.

    """
    _entry(address)


@contextlib.contextmanager
def joined_ray(address: str) -> Iterator[threading.Event]:
    """The cluster at ``address``, while the block runs; it is left silently if the event that this yields is set.

    Raises:
        InputError: the address is malformed, nobody answers within seconds, or a token is missing or wrong.

    """
    host, port, mode = _entry(address)
    with (
        quiet(),
        changed_environment({"RAY_AUTH_MODE": mode}),
        loopback() if _is_on_loopback_only(host, port) else contextlib.nullcontext(),
    ):
        over, gone = threading.Event(), threading.Event()  # see harness/backends/own_ray.py
        try:
            with _silent():
                run_beside(
                    lambda: ray.init(address=_joined(host, port), log_to_driver=False, configure_logging=False),
                    "joining the cluster",
                    signals.check,
                    INIT_S,
                    over,
                )
        except (ConnectionError, ValueError, RuntimeError, OSError, TimeUp, ray.exceptions.RayError) as error:
            cause = error.__cause__ or error
            raise InputError(
                f"--address {address}: the cluster answers, but cannot be joined from here "
                f"({one_line(cause)}); this machine must be one of its nodes"
            ) from None
        try:
            yield gone
        finally:
            if not gone.is_set():
                stop_ray()
            over.set()


def _entry(address: str) -> tuple[str, int, str]:
    """The head's host and port, and the ``RAY_AUTH_MODE`` that it accepts."""
    host, port = _host_and_port(address)
    check_answers(address, host, port)
    return host, port, _mode(address, _joined(host, port))


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(address: str) -> tuple[str, int]:
    """Host and port of the cluster's head; ``auto`` is looked up as in Ray, but never guessed among several."""
    if address != "auto":
        return host_and_port(address)
    live = sorted(services.find_gcs_addresses())
    if len(live) > 1 and not os.environ.get("RAY_ADDRESS"):
        raise InputError(
            f"--address auto: several Ray clusters run on this machine ({', '.join(live)}); give one of them, or leave "
            "--address out"
        )
    try:
        found = services.get_ray_address_from_environment("auto", None) or "local"
    except ConnectionError:
        found = "local"
    if found == "local":
        raise InputError(
            "--address auto: no Ray runs on this machine; start one with `ray start`, or leave --address out"
        )
    return host_and_port(address, found)


def _is_on_loopback_only(host: str, port: int) -> bool:
    """Whether a local cluster cannot be reached at the machine's own address, which Ray uses in place of loopback's."""
    node_ip = services.resolve_ip_for_localhost(host)
    if node_ip == host:
        return False
    try:
        socket.create_connection((node_ip, port), CONNECT_S).close()
    except OSError:
        return True
    return False


def _mode(address: str, bootstrap: str) -> str:
    """The ``RAY_AUTH_MODE`` with which the cluster can be joined, found by asking its head."""
    wanted = os.environ.get("RAY_AUTH_MODE", "").lower()
    if _answers(address, bootstrap, "disabled"):
        if wanted == "token":
            raise InputError(
                f"--address {address}: RAY_AUTH_MODE is token, but this cluster asks for no token; unset RAY_AUTH_MODE"
            )
        return "disabled"
    if wanted == "disabled":
        raise InputError(f"--address {address}: this cluster asks for a token, RAY_AUTH_MODE is disabled; unset it")
    where, token = _token(address)
    if not _is_token(token):  # with such a token, gRPC would end this process
        raise InputError(
            f"--address {address}: what is in {where} is not a token, which is one line of ASCII {GET_TOKEN}"
        )
    if not _answers(address, bootstrap, "token"):
        raise InputError(f"--address {address}: the token in {where} is not that of this cluster {GET_TOKEN}")
    return "token"


def _token(address: str) -> tuple[str, bytes]:
    """Ray's source of its token, in Ray's own order of search, and the token.

    Raises:
        InputError: there is none; the message has the reason.

    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN", os.environb[b"RAY_AUTH_TOKEN"].strip()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    where = f"{path} (RAY_AUTH_TOKEN_PATH)" if named else "~/.ray/auth_token"
    why = "it is no file"
    try:
        if path.is_file():
            with path.open("rb") as file:
                token = file.read(MAX_TOKEN + 1).strip()
            if token:
                return where, token
            why = "it is empty"
        elif not path.exists():
            why = "it is not there"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
    here = f"{where}: {why}" if named else f"~/.ray/auth_token or RAY_AUTH_TOKEN; the first: {why}"
    raise InputError(f"--address {address}: this cluster asks for a token; put it into {here} {GET_TOKEN}")


def _is_token(token: bytes) -> bool:
    return 0 < len(token) <= MAX_TOKEN and all(0x20 < byte < 0x7F for byte in token)


def _answers(address: str, bootstrap: str, mode: str) -> bool:
    """Whether the head lets us in.

    Raises:
        InputError: it does not answer as a Ray head does.

    """

    def ask() -> bool:
        try:
            client = GcsClient(address=bootstrap)
            return client.internal_kv_get(b"session_name", b"session", timeout=GCS_S) is not None
        except ray.exceptions.AuthenticationError:
            return False

    with changed_environment({"RAY_AUTH_MODE": mode}), _silent():
        try:
            return run_beside(ask, "asking the cluster's head", limit_s=GCS_S)
        except (TimeUp, ray.exceptions.RayError, RuntimeError, OSError):
            raise InputError(f"--address {address}: {NOT_RAY}") from None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hide what Ray's C++ part prints about a rejected token; our error says it in one line."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
