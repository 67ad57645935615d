from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.ledger.records import COST_RULES, FIELDS, Kind
from accounting.ledger.store import Ledger, LedgerError, LedgerWriter, read_ledger

ROOT = Path(__file__).parents[2]
ABANDONED = {"session": "s", "job": "j", "reason": "no attempt left"}


def write(folder: Path, num_beats: int = 3, writer: str = "driver") -> Path:
    with LedgerWriter(folder, "s", writer, clock=iter(range(100)).__next__) as ledger:
        for beat in range(num_beats):
            ledger.append(Kind.HEARTBEAT, attempt=f"a{beat}")
    return ledger.path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "ledger")
    ledger = read_ledger(path.parent)
    assert ledger.warnings == ()
    first, *beats = ledger.records
    assert (first["kind"], first["rules"], first["session"], first["writer"], first["pid"]) == (
        "segment_opened", COST_RULES, "s", "driver", os.getpid(),
    )  # fmt: skip
    assert [beat["attempt"] for beat in beats] == ["a0", "a1", "a2"]
    assert [(r["segment"], r["line"]) for r in ledger.records] == [(path.name, n) for n in (1, 2, 3, 4)]


def test_segment_names_are_unique_and_tell_who_wrote(tmp_path: Path) -> None:
    names = {write(tmp_path, writer="worker a/7").name for _ in range(20)}
    assert len(names) == 20
    for name in names:
        assert re.fullmatch(r"19700101T00000\dZ-worker_a_7-[\w.]+-\d+-[0-9a-f]{6}\.jsonl", name)


def test_missing_folder_is_an_empty_ledger(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "nowhere") == Ledger((), ())


def test_segments_are_merged_by_time(tmp_path: Path) -> None:
    for name, times in (("b", (1.0, 4.0)), ("a", (2.0, 3.0))):
        with LedgerWriter(tmp_path, "s", name, clock=lambda: 0.0) as ledger:
            for t in times:
                ledger.append(Kind.HEARTBEAT, t=t, attempt=f"{name}{t:g}")
    records = read_ledger(tmp_path).records
    assert [record.get("attempt") for record in records[2:]] == ["b1", "a2", "a3", "b4"]
    assert records[2]["written_t"] == 0.0


def test_optional_fields_are_kept(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, "s", "w") as ledger:
        ledger.append(Kind.HEARTBEAT, attempt="a", node="n1", loads=[0.5, 1])
    assert read_ledger(tmp_path).records[1]["loads"] == [0.5, 1]


STARTED: dict[str, Any] = {
    "session": "s",
    "attempt": "a",
    "job": "j",
    "route": "prune",
    "phase": "prune",
    "target": 500,
    "replicate": 0,
    "allocation": None,
    "devices": {"core0": 1},
    "meter": "wall_clock",
    "network_macs": None,
    "spec": {},
}
ENDED: dict[str, Any] = {
    "attempt": "a",
    "status": "ok",
    "reason": None,
    "outcome": {},
    "work_end_t": 3.5,
    "measurement": None,
}
PROGRESS: dict[str, Any] = {
    "attempt": "a",
    "epoch": 1,
    "num_epochs": 2,
    "val_top1": 0.5,
    "train_loss": None,
    "checkpointed": True,
}


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Kind.HEARTBEAT, {}, "heartbeat: missing field attempt"),
        (Kind.WORK_BEGUN, {}, "work_begun: missing fields attempt, epoch"),
        (Kind.HEARTBEAT, {"attempt": ""}, "attempt must be a non-empty string, got ''"),
        (Kind.HEARTBEAT, {"attempt": "a", "t": float("nan")}, "t must be Unix seconds"),
        (Kind.HEARTBEAT, {"attempt": "a", "note": {1, 2}}, "heartbeat: .*not JSON serializable"),
        (Kind.HEARTBEAT, {"attempt": "a", "note": float("inf")}, "heartbeat: .*not JSON compliant"),
        (Kind.HEARTBEAT, {"attempt": "a", "t": 10**400}, "t must be Unix seconds"),
        (Kind.PROGRESS, PROGRESS | {"train_loss": 10**400}, "train_loss must be a finite number or null, got 1000"),
        (Kind.PROGRESS, PROGRESS | {"epoch": 2**63}, "epoch must be "),
        (Kind.PROGRESS, PROGRESS | {"train_loss": float("nan")}, "train_loss must be a finite number or null, got nan"),
        (Kind.PROGRESS, PROGRESS | {"checkpointed": 1}, "checkpointed must be true or false, got 1"),
        (Kind.ATTEMPT_STARTED, STARTED | {"phase": "dream"}, "phase must be one of pretrain, supernet, search"),
        (Kind.ATTEMPT_STARTED, STARTED | {"devices": {"core0": -1}}, "devices must be"),
        (Kind.ATTEMPT_STARTED, STARTED | {"target": "0.5M"}, "target must be MACs, a whole number, or null, got '0.5M'"),
        (Kind.ATTEMPT_STARTED, STARTED | {"replicate": True}, "replicate must be a whole number"),
        (Kind.ATTEMPT_ENDED, ENDED | {"status": "lost"}, "status must be ok or failed, got 'lost'"),
        (Kind.ATTEMPT_ENDED, ENDED | {"outcome": "x" * 99}, r"outcome must be an object or null, got 'x+\.\.\.$"),
        (Kind.ALLOCATION_OPENED, {"session": "s", "allocation": None, "devices": {}}, "allocation must be a string"),
        (
            Kind.SESSION_OPENED,
            {
                "session": "s",
                "study": "q",
                "capacity": [{"device": "d", "device_kind": "tpu", "amount": 1}],
                "environment": {},
            },
            "capacity must be a list",
        ),
        (
            Kind.DRIVER_WORK,
            {k: STARTED[k] for k in ("session", "route", "phase", "target", "replicate")} | {"duration_s": -1},
            "duration_s must be seconds, at least 0, got -1",
        ),
    ],
)  # fmt: skip
def test_a_bad_record_is_refused_and_nothing_written(
    tmp_path: Path, kind: Kind, fields: dict[str, Any], message: str
) -> None:
    with LedgerWriter(tmp_path, "s", "w") as ledger:
        with pytest.raises(LedgerError, match=f"not written to the ledger: .*{message}") as caught:
            ledger.append(kind, **fields)
        assert "\n" not in str(caught.value)
    assert len(read_ledger(tmp_path).records) == 1


def test_good_records_of_every_checked_kind_pass(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, "s", "w") as ledger:
        ledger.append(Kind.ATTEMPT_STARTED, **STARTED)
        ledger.append(Kind.PROGRESS, **PROGRESS)
        ledger.append(Kind.ATTEMPT_ENDED, **ENDED)
        ledger.append(Kind.SESSION_CLOSED, session="s", reason="done")
    assert len(read_ledger(tmp_path).records) == 5


def test_closing_twice_is_fine_writing_then_is_not(tmp_path: Path) -> None:
    ledger = LedgerWriter(tmp_path, "s", "w")
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="is closed; open a new LedgerWriter"):
        ledger.append(Kind.HEARTBEAT, attempt="a")


def test_a_torn_last_line_is_skipped_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    ledger = read_ledger(tmp_path)
    assert len(ledger.records) == 3
    assert ledger.warnings == (f"{path.name}:4: torn last line skipped",)


@pytest.mark.parametrize(
    "tail", [b'{"kind":"hear\n', b"\x00\x00\xff\xfe\n", b'{"kind":"heartbeat","t":1,"attempt":"a"}']
)
def test_other_torn_last_lines(tmp_path: Path, tail: bytes) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes() + tail)
    ledger = read_ledger(tmp_path)
    assert len(ledger.records) == 4
    assert ledger.warnings == (f"{path.name}:5: torn last line skipped",)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 1))
def test_any_prefix_of_a_segment_can_be_read(tmp_path: Path, share: float) -> None:
    """A writer can die after any byte: every complete line survives, and nothing else is taken for a record."""
    folder = tmp_path / "cut"
    path = write(folder)
    whole = path.read_bytes()
    cut = whole[: round(share * len(whole))]
    path.write_bytes(cut)
    ledger = read_ledger(folder)
    assert len(ledger.records) == cut.count(b"\n")
    assert len(ledger.warnings) == (0 if cut.endswith(b"\n") else 1)
    path.unlink()


GARBLED = {
    "cut in the middle": (2, b'{"kind":"heart', "not valid JSON"),
    "not an object": (2, b"[1, 2]", "not a JSON object"),
    "unknown kind": (2, b'{"kind":"coffee","t":1}', "unknown kind 'coffee'"),
    "missing field": (2, b'{"kind":"heartbeat","t":1}', "missing field attempt"),
    "no time": (2, b'{"kind":"heartbeat","attempt":"a"}', "t must be Unix seconds"),
    "no opening": (1, b'{"kind":"heartbeat","t":1,"attempt":"a"}', "a segment must begin with segment_opened"),
    "other rules": (
        1,
        b'{"kind":"segment_opened","t":1,"rules":999,"session":"s","writer":"w","host":"h","pid":1}',
        "cost rules 999, this program knows 1 to 2",
    ),
    "missing field in the last line": (4, b'{"kind":"heartbeat","t":1}', "missing field attempt"),
}


@pytest.mark.parametrize("case", GARBLED)
def test_garbled_lines_are_errors_that_name_the_place(tmp_path: Path, case: str) -> None:
    number, line, message = GARBLED[case]
    path = write(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = line + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(LedgerError) as caught:
        read_ledger(tmp_path)
    text = str(caught.value)
    assert f"{path.name}:{number}: " in text
    assert message in text
    assert "restore the file from a copy" in text
    assert "\n" not in text


def test_an_empty_segment_is_skipped_with_a_warning(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "0.jsonl").touch()
    ledger = read_ledger(tmp_path)
    assert len(ledger.records) == 4
    assert "0.jsonl: empty segment skipped" in ledger.warnings[0]


def test_a_full_disk_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write, budget = os.write, [30]

    def short_write(fd: int, data: bytes) -> int:
        if budget[0] <= 0:
            raise OSError(28, "No space left on device")
        budget[0] -= len(data[:30])
        return real_write(fd, data[:30])

    with LedgerWriter(tmp_path, "s", "w") as ledger:
        monkeypatch.setattr(os, "write", short_write)
        with pytest.raises(OSError, match="No space left"):
            ledger.append(Kind.HEARTBEAT, attempt="lost to the full disk")
        budget[0] = 10_000
        ledger.append(Kind.HEARTBEAT, attempt="later")
    ledger_read = read_ledger(tmp_path)
    assert ledger_read.warnings == ()
    assert [record.get("attempt") for record in ledger_read.records] == [None, "later"]


def test_threads_share_a_writer(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, "s", "w") as ledger:

        def beat(name: int) -> None:
            for _ in range(20):
                ledger.append(Kind.HEARTBEAT, attempt=f"a{name}", padding="x" * 500)

        threads = [threading.Thread(target=beat, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(read_ledger(tmp_path).records) == 161


def test_a_killed_writer_leaves_a_readable_ledger(tmp_path: Path) -> None:
    program = (
        "import sys, itertools; from pathlib import Path; from accounting.ledger.store import LedgerWriter\n"
        "from accounting.ledger.records import Kind\n"
        "with LedgerWriter(Path(sys.argv[1]), 's', 'victim') as ledger:\n"
        "    for n in itertools.count():\n"
        "        ledger.append(Kind.HEARTBEAT, attempt='a', n=n)\n"
        "        print(n, flush=True)\n"
    )
    victim = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert victim.stdout is not None
    for line in victim.stdout:
        if int(line) >= 50:
            break
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    numbers = [record["n"] for record in read_ledger(tmp_path).records[1:]]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 50, "a record whose append returned must be on disk"


def test_every_kind_has_fields_and_no_record_hides_its_kind() -> None:
    assert set(FIELDS) == set(Kind)
    assert not {name for fields in FIELDS.values() for name in fields} & {"kind", "t", "segment", "line"}


def test_lines_are_plain_json(tmp_path: Path) -> None:
    for line in write(tmp_path).read_text().splitlines():
        assert isinstance(json.loads(line), dict)


class TestExtensions:
    def test_a_session_says_what_was_planned_first_and_what_was_changed(self, tmp_path):
        change = {"key": "replicates", "old": 2, "new": 3}
        with LedgerWriter(tmp_path, "s1", "driver") as ledger:
            ledger.append(Kind.STUDY_EXTENDED, session="s1", changes=[change])
        (record,) = [r for r in read_ledger(tmp_path).records if r["kind"] == Kind.STUDY_EXTENDED]
        assert record["changes"] == [change]

    def test_a_change_without_its_old_value_is_not_written(self, tmp_path):
        with LedgerWriter(tmp_path, "s1", "driver") as ledger, pytest.raises(LedgerError, match="key, old, new"):
            ledger.append(Kind.STUDY_EXTENDED, session="s1", changes=[{"key": "replicates", "new": 3}])
