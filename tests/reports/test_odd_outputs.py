"""The command in a process of its own, when its output is narrow, limited in characters, closed or full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENTRY = [sys.executable, "-c", "from harness.entry import main; main()"]
"""The same call as in the installed script."""
QUICKSTART = Path(__file__).parents[2] / "studies" / "quickstart.yaml"
ASCII = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
NARROW = {"TERM": "dumb", "COLUMNS": "20"}


@pytest.fixture
def environment(request, tmp_path):
    given = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**given, "PYTHONPATH": str(request.config.rootpath), "TMPDIR": str(tmp_path)}


def words_of(verb, study):
    return {
        "list": ["list"],
        "plan": ["plan", QUICKSTART],
        "status": ["status", study],
        "answer": ["answer", study, "--macs", "0.5M"],
    }[verb]


def run(words, environment, stdout=subprocess.PIPE):
    return subprocess.run(
        [*ENTRY, *map(str, words)],
        env=environment, stdout=stdout, stderr=subprocess.PIPE, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["list", pytest.param("plan", marks=pytest.mark.slow), "status", "answer"])
def test_an_ascii_terminal_of_twenty_columns_gets_it_all(verb, study, environment):
    done = run(words_of(verb, study), {**environment, **ASCII, **NARROW})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) >= 1


@pytest.mark.parametrize("words", [["list"], ["status"], ["--help"]])
def test_a_reader_that_leaves_ends_nothing_badly(words, study, environment):
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = run([*words, study] if words == ["status"] else words, environment, stdout=writes)
    finally:
        os.close(writes)
    assert done.stderr == b""
    assert done.returncode == 0 or words == ["--help"]  # the library that prints help exits with 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["list"], ["status"], ["--help"], ["--version"]])
def test_an_output_that_is_full_is_one_line_and_exit_1(words, study, environment):
    with Path("/dev/full").open("wb") as full:
        done = run([*words, study] if words == ["status"] else words, environment, stdout=full)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count(b"\n") == 1
    assert b"error: the output cannot be written" in done.stderr or b"error: the disk is full" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_report_is_built_where_nothing_can_be_printed(make_study, environment):
    folder = make_study(replicates=1, targets=(500_000,))
    done = run(["report", folder], {**environment, **ASCII, **NARROW})
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert (folder / "report" / "index.html").is_file()


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_descriptors_end_nothing_badly(closed, study, environment):
    def close():
        for descriptor in closed:
            os.close(descriptor)

    done = subprocess.run(
        [*ENTRY, "status", str(study)],
        env=environment, capture_output=True, timeout=300, check=False, preexec_fn=close,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
