"""A disk that is really full: an old report stays whole, and a run leaves a ledger that the next one resumes."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from functools import partial

import pytest
import yaml

from accounting.audit.audit import audit
from accounting.ledger.store import read_ledger

ENTRY = [sys.executable, "-c", "from harness.entry import main; main()"]
SMALL = {"routes": {"prune": {"finetune": {"epochs": 1}}}, "targets": ["0.6M"]}
MIB = 2**20


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of so many MiB; skips where that is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size_mib):
        words = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("no disk can be mounted here")
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def command(request, tmp_path):
    def run(*words, before=None):
        return subprocess.run(
            [*ENTRY, *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(request.config.rootpath), "TMPDIR": str(tmp_path)},
            cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False, preexec_fn=before,
        )  # fmt: skip

    return run


def fill(folder):
    """Take every byte that is left."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def limit(num_bytes):
    """No file may become larger: what a quota or ``ulimit -f`` does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def assert_told(done, *says):
    """Exit 1 and one line that says why, after a line for each attempt that failed."""
    assert done.returncode == 1, done.stderr
    *logged, last = done.stderr.splitlines()
    assert last.startswith("error: "), done.stderr
    assert all(line.startswith(("ERROR harness.", "WARNING harness.")) for line in logged), done.stderr
    assert all(part in last for part in says), done.stderr


def assert_resumes(command, config, folder):
    done = command("run", config, "--backend", "inline", "--out", folder, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    ledger = read_ledger(folder / "ledger")
    assert audit(ledger.records, ledger.findings).ok
    assert (folder / "report" / "index.html").is_file()


def test_a_full_disk_leaves_the_old_report_whole(tiny_study, small_disk, command, snapshot):
    disk = small_disk(48)
    study = shutil.copytree(tiny_study, disk / "study", ignore=shutil.ignore_patterns("checkpoints", "models"))
    before = snapshot(study)
    fill(disk)
    assert_told(command("report", study), "the disk is full")
    assert snapshot(study) == before
    (disk / "filler").unlink()
    assert command("report", study).returncode == 0


def test_files_that_may_not_grow_leave_the_old_report_whole(tiny_study, tmp_path, command, snapshot):
    study = shutil.copytree(tiny_study, tmp_path / "study", ignore=shutil.ignore_patterns("checkpoints", "models"))
    before = snapshot(study)
    assert_told(command("report", study, before=partial(limit, 2000)), "ulimit -f")
    assert snapshot(study) == before


@pytest.mark.parametrize("room_kib", [16, 300])
def test_a_run_on_a_full_disk_is_resumed(room_kib, tiny, small_disk, command, tmp_path):
    disk = small_disk(48)
    tiny |= SMALL
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tiny))
    (disk / "room").write_bytes(b"\0" * room_kib * 1024)
    fill(disk)
    (disk / "room").unlink()
    assert_told(command("run", config, "--backend", "inline", "--out", disk / "study", "-q"))
    (disk / "filler").unlink()
    assert_resumes(command, config, disk / "study")


@pytest.mark.parametrize("num_bytes", [1000, 5000, 100_000])
def test_a_run_whose_files_may_not_grow_is_resumed(num_bytes, tiny, command, tmp_path):
    tiny |= SMALL
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tiny))
    folder = tmp_path / "study"
    limited = command("run", config, "--backend", "inline", "--out", folder, "-q", before=partial(limit, num_bytes))
    assert_told(limited)
    assert_resumes(command, config, folder)
