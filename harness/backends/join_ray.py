"""Joins a running Ray cluster (``--address``): which forms of address there are, what is missing where it cannot be done.

Ray itself takes up to a minute to say that nobody answers, and does not look for a token when it is given an address. So
the address is tried first, in steps that each have a time limit: does anything listen, does it speak gRPC, is it a Ray
head, does it want a token, is ours the right one.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import ray
from ray._private import services
from ray._raylet import GcsClient

from harness.backends import signals
from harness.backends.background import TimeUp, run_beside
from harness.backends.own_ray import changed_environment, quiet, stop_ray
from harness.errors import InputError, one_line

CONNECT_S, ANSWER_S, GCS_S, INIT_S = 4.0, 3.0, 6.0, 60.0
FORMS = "allowed are host:port, auto (the cluster that this machine is a node of) and local (a Ray of our own)"


@contextlib.contextmanager
def joined_ray(address: str) -> Iterator[threading.Event]:
    """The cluster at ``address``, while the block runs. Where the event that is given is set, it is left without a word.

    Raises:
        InputError: the address has no such form, nobody answers there in a few seconds, or a token is missing or wrong.

    """
    host, port = _host_and_port(address)
    _listens(address, host, port)
    with (
        quiet(),
        changed_environment({"RAY_AUTH_MODE": _mode(address, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")}),
    ):
        over, gone = threading.Event(), threading.Event()  # see harness/backends/own_ray.py
        try:
            run_beside(
                lambda: ray.init(address=f"{host}:{port}", log_to_driver=False, configure_logging=False),
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


def _host_and_port(address: str) -> tuple[str, int]:
    """Where the cluster's head is; ``auto`` is looked up as Ray does."""
    given = address.strip()
    if given.startswith("ray://"):
        raise InputError(
            f"--address {address}: Ray Client is not supported, since the driver must run on a node of the cluster; "
            "run the command there, with --address auto"
        )
    if given == "auto":
        try:
            given = services.get_ray_address_from_environment("auto", None) or "local"
        except ConnectionError:
            given = "local"
        if given == "local":
            raise InputError(
                "--address auto: no Ray runs on this machine; start one with `ray start`, or leave --address out"
            )
    form = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", given)
    if form is None or not 0 < int(form[3]) < 65536:
        raise InputError(f"--address {address}: {FORMS}")
    return form[1] or form[2], int(form[3])


def _listens(address: str, host: str, port: int) -> None:
    """Raise ``InputError`` where nothing listens, or what listens does not speak HTTP/2 as every gRPC server does."""
    try:
        with socket.create_connection((host, port), CONNECT_S) as connection:
            connection.settimeout(ANSWER_S)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            greeting = connection.recv(9)
    except socket.gaierror:
        raise InputError(f"--address {address}: there is no host {host}; check the name") from None
    except TimeoutError:
        greeting = b""
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({reason}); start one or leave it out"
        ) from None
    if len(greeting) < 4 or greeting[3] != 4:
        raise InputError(f"--address {address}: what answers there is not a Ray cluster; give its head's host:port")


def _mode(address: str, bootstrap: str) -> str:
    """The ``RAY_AUTH_MODE`` with which the cluster can be joined, tried out on its head."""
    wanted = os.environ.get("RAY_AUTH_MODE", "").lower()
    if _answers(address, bootstrap, "disabled"):
        if wanted == "token":
            raise InputError(
                f"--address {address}: RAY_AUTH_MODE is token, but this cluster asks for no token; unset RAY_AUTH_MODE"
            )
        return "disabled"
    if wanted == "disabled":
        raise InputError(f"--address {address}: this cluster asks for a token, RAY_AUTH_MODE is disabled; unset it")
    where = _token_place()
    if where is None:
        raise InputError(
            f"--address {address}: this cluster asks for a token; put it into ~/.ray/auth_token or RAY_AUTH_TOKEN "
            "(`ray get-auth-token` prints it on the head node)"
        )
    if not _answers(address, bootstrap, "token"):
        raise InputError(
            f"--address {address}: the token in {where} is not that of this cluster (`ray get-auth-token` prints it on "
            "the head node)"
        )
    return "token"


def _token_place() -> str | None:
    """Where Ray takes its token from, in its own order."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    if os.environ.get("RAY_AUTH_TOKEN_PATH"):
        path = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        return f"{path} (RAY_AUTH_TOKEN_PATH)" if path.is_file() and path.read_bytes().strip() else None
    default = Path.home() / ".ray" / "auth_token"
    return "~/.ray/auth_token" if default.is_file() and default.read_bytes().strip() else None


def _answers(address: str, bootstrap: str, mode: str) -> bool:
    """Whether the head lets us in; ``InputError`` where it does not answer as a Ray head does."""

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
            raise InputError(
                f"--address {address}: what answers there is not a Ray cluster; give its head's host:port"
            ) from None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what Ray's C++ part writes to the terminal about a refused token away: the error says it in one line."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
