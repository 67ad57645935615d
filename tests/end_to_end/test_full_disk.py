"""On a disk that is really full, an old report stays intact, and a run leaves a ledger that the next run resumes."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from inline_runs import SMALL, quick, records, run
from safetensors import SafetensorError

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.errors import StudyFailed
from harness.work import train

LIMITED = """
import json, resource, signal, sys
from harness.entry import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for size, *words in json.loads(sys.argv[1]):
    sys.argv = ["prune-or-search", *words]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        main()
    except SystemExit as ended:
        sys.stderr.write(f"\\0{json.dumps(ended.code)}\\0")
        sys.stderr.flush()
"""
"""Runs command lines whose files may not grow beyond a number of bytes, as with a quota or ``ulimit -f``."""
MIB = 2**20


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a disk of so many MiB; the test is skipped where mounting is not permitted."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size_mib):
        words = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("no disk can be mounted here")
        return place

    yield mount
    if os.path.ismount(place):
        # This process may still have one of its files open or mapped.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="module")
def limited(request, tmp_path_factory):
    """A function that runs command lines one by one in one process with limited file sizes: [(exit code, stderr)]."""

    def run(*lines, sizes):
        given = [[size, *map(str, words)] for size, words in zip(sizes, lines, strict=True)]
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, json.dumps(given)],
            env={**os.environ, "PYTHONPATH": str(request.config.rootpath)},
            cwd=tmp_path_factory.mktemp("cwd"), capture_output=True, text=True, timeout=600, check=True,
        )  # fmt: skip
        *parts, rest = done.stderr.split("\0")
        assert rest == ""
        return [(json.loads(code), said) for said, code in zip(parts[::2], parts[1::2], strict=True)]

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


def assert_told(code, stderr, *says):
    """Assert exit 1 and a last line with the reason, after one line per failed attempt and one from the sampler."""
    assert code == 1, stderr
    *logged, last = stderr.splitlines()
    assert last.startswith("error: "), stderr
    assert all(line.startswith(("ERROR harness.", "WARNING harness.", "WARNING accounting.")) for line in logged), (
        stderr
    )
    assert all(part in last for part in says), stderr


def assert_resumes(config, folder, caplog):
    caplog.clear()
    run(config, folder)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    ledger = read_ledger(folder / "ledger")
    assert audit(ledger.records, ledger.findings).ok
    assert (folder / "report" / "index.html").is_file()


def test_a_full_disk_leaves_the_old_report_whole(tiny_study, small_disk, command, snapshot):
    disk = small_disk(48)
    study = shutil.copytree(tiny_study, disk / "study", ignore=shutil.ignore_patterns("checkpoints", "models"))
    before = snapshot(study)
    fill(disk)
    code, _, stderr = command("report", study)
    assert_told(code, stderr, "the disk is full")
    assert snapshot(study) == before
    (disk / "filler").unlink()
    with quick():
        assert command("report", study)[0] == 0


@pytest.mark.parametrize("room_kib", [16, 300])
def test_a_run_on_a_full_disk_is_resumed(room_kib, tiny, small_disk, command, write_config, caplog):
    disk = small_disk(48)
    tiny |= SMALL
    (disk / "room").write_bytes(b"\0" * room_kib * 1024)
    fill(disk)
    (disk / "room").unlink()
    with quick():
        code, _, stderr = command("run", write_config(tiny), "--backend", "inline", "--out", disk / "study", "-q")
    assert_told(code, stderr)
    (disk / "filler").unlink()
    assert_resumes(tiny, disk / "study", caplog)


SIZES = [1000, 5000, 100_000]


@pytest.fixture(scope="module")
def stopped(limited, tiny_study, tiny_text, tmp_path_factory):
    """(folder, {size: (exit code, stderr)}) of runs with limited file sizes and, under "report", of a report."""
    root = tmp_path_factory.mktemp("limited")
    config = root / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(tiny_text) | SMALL))
    shutil.copytree(tiny_study, root / "report", ignore=shutil.ignore_patterns("checkpoints", "models"))
    runs = [("run", config, "--backend", "inline", "--out", root / str(size), "-q") for size in SIZES]
    done = limited(("report", root / "report"), *runs, sizes=[2000, *SIZES])
    return root, dict(zip(["report", *SIZES], done, strict=True))


def test_files_that_may_not_grow_leave_the_old_report_whole(stopped, tiny_study, snapshot):
    root, done = stopped
    assert_told(*done["report"], "ulimit -f")
    before = snapshot(tiny_study).items()
    assert snapshot(root / "report") == {
        path: digest for path, digest in before if path.split("/")[0] not in ("checkpoints", "models")
    }


@pytest.mark.parametrize("size", SIZES)
def test_a_run_whose_files_may_not_grow_is_resumed(size, stopped, tiny, caplog):
    root, done = stopped
    assert_told(*done[size])
    assert_resumes(tiny | SMALL, root / str(size), caplog)


FULL = {
    "of the system": OSError(errno.ENOSPC, "No space left on device"),
    "of safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "a quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
}


@pytest.mark.parametrize("case", FULL)
def test_a_disk_that_fills_up_in_a_search_ends_the_session_and_no_candidate_is_given_up(
    case, tiny, tmp_path, monkeypatch
):
    """Otherwise every candidate would fail three times, and the search could never try it again."""
    tiny |= {"targets": ["0.6M"]}
    tiny["routes"] = {"search": tiny["routes"]["search"]}
    plain, told = train.train, []

    def fill_up(*args, **kwargs):
        told.append(1)
        if len(told) > 1:
            raise FULL[case]
        return plain(*args, **kwargs)

    monkeypatch.setattr(train, "train", fill_up)
    with pytest.raises(
        StudyFailed, match=r"job search-r0-candidate-001: the disk (is full|quota is used up); free some space"
    ):
        run(tiny, tmp_path / "study")
    assert len(told) == 2
    assert not records(tmp_path / "study", Kind.JOB_ABANDONED)
    monkeypatch.setattr(train, "train", plain)
    run(tiny, tmp_path / "study")
    ledger = read_ledger(tmp_path / "study" / "ledger")
    assert audit(ledger.records, ledger.findings).ok
    assert all(job.status == "ok" for job in derive(ledger.records).jobs)
