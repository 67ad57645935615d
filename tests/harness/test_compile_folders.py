"""Folders of compilations that killed processes left are removed by the next one, and no others are."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from accounting.meters.processes import worker
from harness.training.compile_folders import NAME, own_folder, sweep

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are told by /proc")
HERE = Path("/proc/self/ns/pid").stat().st_ino if sys.platform.startswith("linux") else 0


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A temporary folder of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed():
    """The id and the start of a process that is over."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return worker(process.pid)


def make(folder, name):
    made = folder / f"{NAME}{name}"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "kernel.so").touch()
    return made


def test_its_folder_is_there_while_it_compiles_and_gone_afterwards(folder):
    with own_folder() as own:
        assert Path(own).is_dir()
        sweep()
        assert Path(own).is_dir(), "its process lives"
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(folder):
    dead = killed()
    left = make(folder, f"{HERE}-{dead.pid}-{dead.started}-x1_z")
    again = make(folder, f"{HERE}-{os.getpid()}-1-x1")  # the process's number is another's by now
    with own_folder():
        assert not left.exists()
        assert not again.exists()


def test_nothing_else_is_removed(folder):
    dead, me = killed(), worker(os.getpid())
    kept = [
        make(folder, f"{HERE}-{me.pid}-{me.started}-x1"),
        make(folder, f"{HERE + 1}-{dead.pid}-{dead.started}-x1"),  # of another container
        make(folder, "abc"),  # of an older version
        make(folder, f"{HERE}-none-{dead.started}-x1"),
    ]
    link = folder / f"{NAME}{HERE}-{dead.pid}-{dead.started}-x2"
    link.symlink_to(kept[2])
    sweep()
    assert all((each / "deep" / "kernel.so").exists() for each in kept)
    assert link.is_symlink()
