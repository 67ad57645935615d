"""The forms of ``--address``, and whether something that could be a Ray cluster answers there. Imports no Ray.

Each step has its own time limit; together they take less than ten seconds.
"""

from __future__ import annotations

import re
import socket

from harness.errors import InputError

CONNECT_S, ANSWER_S = 4.0, 3.0
LOOKED_UP = ("auto", "local")
"""Addresses that name a cluster without its location."""
FORMS = "allowed are host:port, auto (the cluster that this machine is a node of) and local (a Ray of our own)"
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""The start of an HTTP/2 connection: the preface and empty settings. Every gRPC server answers with its settings."""
SETTINGS = 4
TLS_ALERT = b"\x15\x03"
"""How a TLS server rejects a client that does not speak TLS."""
NOT_RAY = "what answers there is not a Ray cluster; give its head's host:port"


def host_and_port(address: str, given: str | None = None) -> tuple[str, int]:
    """Host and port of a cluster's head, from ``given``; ``address`` is what the user wrote.

    Raises:
        InputError: it has another form.

    """
    given = (address if given is None else given).strip()
    if given.startswith("ray://"):
        raise InputError(
            f"--address {address}: Ray Client is not supported, since the driver must run on a node of the cluster; "
            "run the command there, with --address auto"
        )
    form = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})", given, re.ASCII)
    if form is None or not 0 < int(form[3]) < 65536:
        raise InputError(f"--address {address}: {FORMS}")
    return form[1] or form[2], int(form[3])


def check_answers(address: str, host: str, port: int) -> None:
    """Check that something answers in time, and speaks HTTP/2 as every gRPC server does.

    Raises:
        InputError: it does not.

    """
    try:
        connection = socket.create_connection((host, port), CONNECT_S)
    except socket.gaierror:
        raise InputError(f"--address {address}: there is no host {host}; check the name") from None
    except TimeoutError:
        raise InputError(
            f"--address {address}: nothing answers there within {CONNECT_S:g} s; check the host, the port and firewalls"
        ) from None
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--address {address}: no Ray cluster answers there ({_reason(error)}); start one or leave it out"
        ) from None
    with connection:
        try:
            connection.settimeout(ANSWER_S)
            connection.sendall(GREETING)
            said = connection.recv(9)
        except TimeoutError:
            raise InputError(
                f"--address {address}: what listens there says nothing for {ANSWER_S:g} s, as no Ray cluster does; "
                "give its head's host:port"
            ) from None
        except OSError as error:
            raise InputError(
                f"--address {address}: no Ray cluster answers there ({_reason(error)}); start one or leave it out"
            ) from None
    if said[:2] == TLS_ALERT:
        raise InputError(
            f"--address {address}: what listens there speaks TLS, which no head does unless RAY_USE_TLS is set; "
            "clusters with that cannot be joined"
        )
    if len(said) < 4 or said[3] != SETTINGS:
        raise InputError(f"--address {address}: {NOT_RAY}")


def check_address(address: str) -> None:
    """Check that a cluster could be at ``address``, if it names a location.

    Raises:
        InputError: none can be there.

    """
    if address not in LOOKED_UP:
        check_answers(address, *host_and_port(address))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
