"""``--address`` without a Ray cluster gives one line with the reason, within seconds, before any heavy import."""

import contextlib
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from refusals import assert_refused

from harness.backends import address
from harness.errors import InputError

LIMIT_S = 15.0


@contextlib.contextmanager
def listener(answer=None):
    """A local port that accepts connections; ``answer`` handles each of them."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        kept = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    kept.append(server.accept()[0])
                    if answer is not None:
                        answer(kept[-1])

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


@contextlib.contextmanager
def http():
    quiet = type("Quiet", (BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = HTTPServer(("127.0.0.1", 0), quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def closed():
    with socket.socket() as taken:  # bound, so that nobody else takes it, but never listening
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def hang_up(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def tls(connection):
    """Answer as OpenSSL does to a client that does not speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with contextlib.suppress(ssl.SSLError, OSError):
        context.wrap_socket(connection.dup(), server_side=True)
    connection.shutdown(socket.SHUT_RDWR)


PLACES = {
    "closed": (closed, "no Ray cluster answers there (Connection refused)"),
    "silent": (listener, "says nothing for 3 s"),
    "http": (http, "is not a Ray cluster"),
    "one byte": (lambda: listener(lambda c: c.sendall(b"x")), "is not a Ray cluster"),
    "hangs up": (lambda: listener(hang_up), "Ray cluster"),
    "tls": (lambda: listener(tls), "is not a Ray cluster"),
    "tls that says so": (lambda: listener(lambda c: c.sendall(b"\x15\x03\x03\0\2\2\x46")), "speaks TLS"),
    "ends": (lambda: listener(lambda c: c.shutdown(socket.SHUT_RDWR)), "is not a Ray cluster"),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_cluster_is_one_line_within_seconds(place, command, tiny, write_config, tmp_path):
    where, says = PLACES[place]
    with where() as port:
        began = time.monotonic()
        result = command("run", write_config(tiny), "--out", tmp_path / "out", "--address", f"127.0.0.1:{port}")
        took = time.monotonic() - began
    assert_refused(result, f"--address 127.0.0.1:{port}: ", says)
    assert took < LIMIT_S
    assert not (tmp_path / "out").exists()


def test_a_host_that_drops_what_is_sent_to_it_says_so_within_seconds(monkeypatch):
    def drop(*_):
        raise TimeoutError

    monkeypatch.setattr(address.socket, "create_connection", drop)
    with pytest.raises(InputError, match=r"nothing answers there within 4 s.*firewalls"):
        address.check_address("192.0.2.1:6379")


@pytest.mark.parametrize(
    "given", ["", "6379", ":6379", "host", "host:", "host:0", "host:65536", "host:٣", "a b:1", "::1:6379"]
)
def test_what_is_no_address_says_which_are(given, command, tiny, write_config):
    assert_refused(command("run", write_config(tiny), "--address", given), "host:port", "auto", "local")


@pytest.mark.parametrize(
    ("given", "at"), [("head:6379", ("head", 6379)), ("[::1]:1", ("::1", 1)), (" 10.0.0.1:65535 ", ("10.0.0.1", 65535))]
)
def test_host_and_port(given, at):
    assert address.host_and_port(given) == at


def test_only_what_grpc_servers_say_is_taken_for_one():
    settings = b"\0\0\0\4\0\0\0\0\0"
    with listener(lambda connection: connection.sendall(settings)) as port:
        address.check_address(f"127.0.0.1:{port}")


def test_several_clusters_are_told_apart_by_the_user(monkeypatch, command, tiny, write_config):
    from ray._private import services

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: {"127.0.0.1:2", "127.0.0.1:1"})
    result = command("run", write_config(tiny), "--address", "auto")
    assert_refused(
        result, "--address auto: several Ray clusters run on this machine (127.0.0.1:1, 127.0.0.1:2); give one"
    )


@pytest.mark.parametrize(("live", "latest"), [({"127.0.0.1:1"}, "127.0.0.1:2"), ({"127.0.0.1:1"}, None)])
def test_the_only_cluster_is_joined_whatever_was_started_last(live, latest, monkeypatch):
    from ray._private import services

    from harness.backends import join_ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: live)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda temp_dir: latest)
    assert join_ray._host_and_port("auto") == ("127.0.0.1", 1)


def test_an_address_in_the_environment_is_auto(monkeypatch):
    from ray._private import services

    from harness.backends import join_ray

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:7")
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: {"127.0.0.1:2", "127.0.0.1:1"})
    assert join_ray._host_and_port("auto") == ("127.0.0.1", 7)
