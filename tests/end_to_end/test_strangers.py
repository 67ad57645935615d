"""While a study runs, a process on the machine without the token attacks every port on which the run listens."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from inline_runs import SMALL
from processes import command_of, environment_of, listening, tree

from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="ports are listed in /proc"),
]
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")


@contextmanager
def running_study(tiny, root, cwd):
    """The driver of a study with its long first job under way; it is killed at the end."""
    tiny["parent"]["pretrain"]["epochs"] = 2000
    (root / "tiny.yaml").write_text(yaml.safe_dump(tiny | SMALL))
    with (root / "log").open("w") as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", "run", str(root / "tiny.yaml"), "--out", str(root / "tiny")],
            stdout=log, stderr=subprocess.STDOUT, cwd=cwd,
        )  # fmt: skip
    try:
        deadline = time.time() + 240
        while not any(r["kind"] == Kind.WORK_BEGUN for r in read_ledger(root / "tiny" / "ledger").records):
            assert driver.poll() is None, (root / "log").read_text()
            assert time.time() < deadline, (root / "log").read_text()
            time.sleep(0.3)
        yield driver
    finally:
        driver.kill()
        driver.wait()


def attack(ports, head, token, home):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    given = {} if token is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    given |= {"GCS_PORT": str(head), "HOME": str(home), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    script = Path(__file__).with_name("stranger.py")
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, ports)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean | given,
    )


def told(process):
    out, err = process.communicate(timeout=150)
    lines = out.decode().strip().splitlines()
    assert lines, err.decode()[-2000:]
    return json.loads(lines[-1])


@pytest.fixture(scope="module")
def attacked(tmp_path_factory, request, tiny_text):
    """(ports, each stranger's answers by name, the run's command lines, those that contain the token)."""
    root = tmp_path_factory.mktemp("attacked")
    with running_study(yaml.safe_load(tiny_text), root, request.config.rootpath) as driver:
        pids = tree(driver.pid)
        ports = listening(pids)
        head = next(pid for pid in pids if "gcs_server" in command_of(pid).split()[0])
        token = environment_of(head)["RAY_AUTH_TOKEN"]
        gcs = next(port for port, (pid, _) in ports.items() if pid == head)
        tokens = {"without": None, "wrong": "0" * len(token), "right": token}
        strangers = {name: attack(ports, gcs, given, root) for name, given in tokens.items()}
        results = {name: told(stranger) for name, stranger in strangers.items()}
        commands = [command_of(pid) for pid in pids if Path(f"/proc/{pid}").exists()]
        seen = [command for command in commands if token in command]
        assert driver.poll() is None, (root / "log").read_text()
    return ports, results, commands, seen


@pytest.mark.parametrize("stranger", ["without", "wrong"])
def test_a_stranger_is_refused_on_every_port(attacked, stranger):
    ports, results, *_ = attacked
    said = results[stranger]
    assert not isinstance(said["code"], int), "code of the stranger ran"
    for port in map(str, ports):
        answers = set(said["grpc"][port].values()) | set(said["http"][port].values())
        assert "refused" in answers, (port, answers)
        assert answers <= {"refused", "unknown call", "no grpc", "no http"}, (port, answers)


def test_who_has_the_token_is_let_in(attacked):
    ports, results, *_ = attacked
    said = results["right"]
    assert isinstance(said["code"], int), said["code"]
    for port in map(str, ports):
        answers = set(said["grpc"][port].values()) | set(said["http"][port].values())
        assert "refused" not in answers
        assert any(answer.startswith("let in") for answer in answers) or "no grpc" not in answers, (port, answers)


def test_every_port_is_on_the_loopback_interface(attacked):
    ports = attacked[0]
    assert len(ports) >= 5
    assert {address for _, address in ports.values()} <= set(LOOPBACK)
    for address in {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}:
        if not address.startswith("127."):
            for port in ports:
                with pytest.raises(OSError, match=r"."):
                    socket.create_connection((address, port), 2).close()


def test_the_token_is_on_no_command_line(attacked):
    assert attacked[3] == []


def test_of_rays_processes_only_those_run_that_someone_asks(attacked):
    commands = attacked[2]
    assert sum("/gcs_server " in command for command in commands) == 1
    assert sum("/raylet " in command for command in commands) == 1
    unasked = ("autoscaler/_private/monitor.py", "log_monitor.py", "dashboard/dashboard.py")
    assert [command for command in commands if any(name in command for name in unasked)] == []
