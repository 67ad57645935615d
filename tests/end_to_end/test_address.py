"""``run --address`` against clusters started with ``ray start --head``: an open one, and one that asks for a token."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from clusters import clean, cluster, short_folder
from inline_runs import SMALL
from processes import command_of, listening, tree

from accounting.audit.audit import audit
from accounting.ledger.store import read_ledger

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="what a cluster has started is listed in /proc"),
]
TOKEN = "0123456789abcdef" * 4
JOIN = """
import sys
from harness.backends.join_ray import joined_ray
with joined_ray(sys.argv[1]):
    import ray
    print("joined", ray.get(ray.remote(num_cpus=0)(lambda: 6 * 7).remote()))
"""


@pytest.fixture(scope="module")
def clusters():
    """{name: address} of an open cluster and of one whose head has a token where Ray keeps it."""
    with ExitStack() as stack:
        roots = {name: stack.enter_context(short_folder()) for name in ("open", "token")}
        (roots["token"] / ".ray").mkdir()
        (roots["token"] / ".ray" / "auth_token").write_text(TOKEN)
        waits = {name: stack.enter_context(cluster(root)) for name, root in roots.items()}
        yield {name: wait() for name, wait in waits.items()}
    assert not any(root.exists() for root in roots.values())
    assert tree(os.getpid()) == [os.getpid()]


@pytest.fixture
def given(tmp_path):
    """A function that writes a token where Ray looks for it and returns the environment that leads there."""

    def place(where, token):
        if where == "nowhere":
            return {}
        if where == "RAY_AUTH_TOKEN":
            return {where: token}
        path = tmp_path / (".ray/auth_token" if where == "~" else "token")
        path.parent.mkdir(exist_ok=True)
        path.write_text(token)
        return {} if where == "~" else {where: str(path)}

    return place


@pytest.fixture
def python(tmp_path, request):
    """A function that runs this Python with some words, with the test's folder as home: the finished process."""

    def run(*words, **environment):
        return subprocess.run(
            [sys.executable, *map(str, words)],
            env=clean(tmp_path, PYTHONPATH=str(request.config.rootpath), **environment),
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run


def assert_joins(done):
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "joined 42\n"


def refusal(python, write_config, tiny, address, **environment):
    """Assert that ``run`` is refused with one line and exit code 2 and writes nothing; returns the line."""
    config = write_config(tiny)
    done = python(
        "-m", "harness.cli", "run", config, "--out", config.parent / "out", "--address", address, **environment
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"error: --address {address}: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (config.parent / "out").exists()
    return done.stderr


@pytest.mark.parametrize("mode", [{}, {"RAY_AUTH_MODE": "disabled"}])
def test_an_open_cluster_is_joined(clusters, python, mode):
    assert_joins(python("-c", JOIN, clusters["open"], **mode))


@pytest.mark.parametrize("where", ["~", "RAY_AUTH_TOKEN_PATH"])
def test_with_the_right_token_a_cluster_is_joined(clusters, python, given, where):
    assert_joins(python("-c", JOIN, clusters["token"], **given(where, TOKEN)))


def test_with_the_right_token_a_study_runs(clusters, python, given, tiny, write_config):
    config = write_config(tiny | SMALL)
    words = ["-m", "harness.cli", "run", config, "--out", config.parent / "study", "-q", "--address", clusters["token"]]
    done = python(*words, **given("RAY_AUTH_TOKEN", TOKEN))
    assert (done.returncode, done.stderr) == (0, "")
    ledger = read_ledger(config.parent / "study" / "ledger")
    assert audit(ledger.records, ledger.findings).ok
    assert (config.parent / "study" / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("where", "token", "says"),
    [
        ("nowhere", "", "asks for a token; put it into ~/.ray/auth_token or RAY_AUTH_TOKEN"),
        ("RAY_AUTH_TOKEN_PATH", "", "asks for a token; put it into"),
        ("RAY_AUTH_TOKEN", "f" * 64, "the token in RAY_AUTH_TOKEN is not that of this cluster"),
        ("RAY_AUTH_TOKEN", "ä" * 32, "what is in RAY_AUTH_TOKEN is not a token"),
        ("RAY_AUTH_TOKEN_PATH", f"{TOKEN}\n{TOKEN}", "(RAY_AUTH_TOKEN_PATH) is not a token"),
        ("~", TOKEN[:-1] + "0", "the token in ~/.ray/auth_token is not that of this cluster"),
    ],
)
def test_a_missing_or_wrong_token_says_what_to_do(clusters, python, given, tiny, write_config, where, token, says):
    line = refusal(python, write_config, tiny, clusters["token"], **given(where, token))
    assert says in line
    assert "ray get-auth-token" in line


@pytest.mark.parametrize(
    ("name", "mode", "says"),
    [
        ("open", "token", "RAY_AUTH_MODE is token, but this cluster asks for no token; unset RAY_AUTH_MODE"),
        ("token", "disabled", "this cluster asks for a token, RAY_AUTH_MODE is disabled; unset it"),
    ],
)
def test_a_mode_that_is_not_the_clusters_is_named(clusters, python, tiny, write_config, name, mode, says):
    assert says in refusal(python, write_config, tiny, clusters[name], RAY_AUTH_MODE=mode, RAY_AUTH_TOKEN=TOKEN)


def test_which_of_several_clusters_is_meant_is_not_guessed(clusters, python, tiny, write_config):
    line = refusal(python, write_config, tiny, "auto", RAY_AUTH_TOKEN=TOKEN)
    assert "several Ray clusters run on this machine (" in line
    assert all(address in line for address in clusters.values())


def test_a_port_of_ray_that_is_not_its_heads_is_refused(clusters, python, tiny, write_config):
    """The raylet also speaks gRPC, but does not know the calls that a head answers."""
    mine = {pid: command_of(pid) for pid in tree(os.getpid())}
    raylets = [pid for pid, text in mine.items() if "/raylet " in text]
    port = min(listening(raylets))
    assert "is not a Ray cluster" in refusal(python, write_config, tiny, f"127.0.0.1:{port}")
