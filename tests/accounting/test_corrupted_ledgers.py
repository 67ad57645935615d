"""A small clean ledger is corrupted in every known way; audit finds each and says what it means for the verdict."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_records import (
    abandoned,
    alloc,
    beat,
    closed,
    driver_work,
    failed,
    free,
    node_beat,
    ok,
    opened,
    progress,
    start,
    work,
)
from test_damaged_ledgers import FILE_DAMAGE, LINE_DAMAGE, segment, write

from accounting.audit.audit import audit
from accounting.audit.meanings import MEANINGS, Stands
from accounting.ledger.records import Kind, Record
from accounting.ledger.store import LedgerWriter, read_lean, read_ledger

Records = list[Record]


def clean() -> dict[str, Records]:
    """Records by process: a parent that failed once, a network made from it, and another route at the same time."""
    tuned = start("s", "f#0", "f", 43, allocation="B", phase="finetune", target=500)
    tuned["spec"] = {"init_from": "p"}
    return {
        "driver": [
            opened("s", 0), alloc("s", "A", 1), alloc("s", "C", 1, "core1"), free("s", "A", 41), alloc("s", "B", 42),
            free("s", "C", 70), free("s", "B", 80), closed("s", 81),
        ],
        "worker-0": [
            start("s", "p#0", "p", 2, allocation="A"), work("p#0", 3), progress("p#0", 8, 1), failed("p#0", 12),
            start("s", "p#1", "p", 14, allocation="A"), work("p#1", 15, 1), beat("p#1", 16), progress("p#1", 25, 2),
            progress("p#1", 35, 3), ok("p#1", 40, 39), tuned, work("f#0", 44), progress("f#0", 75, 1), ok("f#0", 79, 78),
        ],
        "worker-1": [
            start("s", "q#0", "q", 2, allocation="C", device="core1", route="search", phase="search"), work("q#0", 4),
            progress("q#0", 60, 1), ok("q#0", 69, 68),
        ],
    }  # fmt: skip


def put(folder: Path, ledger: dict[str, Records]) -> None:
    """Write the ledger, chained and sealed, with each record at its own time ``t``."""
    now = [0.0]
    driver, *workers = ledger.items()
    for name, records in [*workers, driver]:
        with LedgerWriter(folder, "s", name, clock=lambda: now[0]) as writer:
            for record in records:
                now[0] = record["t"]
                writer.append(record["kind"], **{k: v for k, v in record.items() if k not in ("kind", "t")})
            now[0] = 0.0


def found_in(folder: Path) -> dict[str, Stands]:
    """The codes found and what they mean for the verdict; full and lean reads must agree."""
    full, lean = read_ledger(folder, strict=False), read_lean(folder, strict=False)
    one, two = audit(full.records, full.findings), audit(lean.records, lean.findings, lean.points)
    assert {(f.severity, f.code, f.message) for f in one.findings} == {
        (f.severity, f.code, f.message) for f in two.findings
    }
    assert one.balances == two.balances
    assert one.stands == two.stands
    return {finding.code: MEANINGS[finding.code].stands for finding in one.findings}


def of(ledger: dict[str, Records], kind: str, attempt: str = "") -> Record:
    """The first record of a kind (and of an attempt, if given)."""
    every = [r for records in ledger.values() for r in records]
    return next(r for r in every if r["kind"] == kind and attempt in ("", r.get("attempt")))


def drop(kind: str, name: str = "") -> Callable[[dict[str, Records]], None]:
    """Drop the records of a kind (of one attempt or allocation, if given)."""

    def change(ledger: dict[str, Records]) -> None:
        for records in ledger.values():
            records[:] = [
                r for r in records if r["kind"] != kind or name not in ("", r.get("attempt"), r.get("allocation"))
            ]

    return change


def add(process: str, *records: Record) -> Callable[[dict[str, Records]], None]:
    """Insert further records in order of time."""

    def change(ledger: dict[str, Records]) -> None:
        ledger[process] = sorted([*ledger[process], *records], key=lambda record: record["t"])

    return change


def edit(kind: str, attempt: str = "", **fields: object) -> Callable[[dict[str, Records]], None]:
    """Change fields of the first such record, which keeps its place."""
    return lambda ledger: of(ledger, kind, attempt).update(fields)  # type: ignore[typeddict-item]


def edit_all(kind: str, **fields: object) -> Callable[[dict[str, Records]], None]:
    """Change fields of all such records."""

    def change(ledger: dict[str, Records]) -> None:
        for record in (r for records in ledger.values() for r in records if r["kind"] == kind):
            record.update(fields)  # type: ignore[typeddict-item]

    return change


def both(*changes: Callable[[dict[str, Records]], None]) -> Callable[[dict[str, Records]], None]:
    """Apply one change after another."""

    def change(ledger: dict[str, Records]) -> None:
        for one in changes:
            one(ledger)

    return change


def _seen_often(ledger: dict[str, Records]) -> None:
    """A second session, soon killed, in which an attempt may have held a core for a tenth of a second unseen."""
    drop("session_closed")(ledger)
    ledger["driver"] += [opened("s2", 90, {"core0": 1.0}), alloc("s2", "Z", 91)]
    again = start("s2", "w#0", "w", 91.5, allocation="Z", heartbeat_s=0.1)
    ledger["worker-0"] += [again, beat("w#0", 92)]
    ledger["driver"] += [opened("s3", 94, {"core0": 1.0}), abandoned("s3", "w", 95), closed("s3", 96)]


SAID: dict[str, tuple[Callable[[dict[str, Records]], None], str, Stands]] = {
    "an attempt that ended twice": (add("worker-1", ok("q#0", 69.5, 68)), "attempt_recorded_twice", Stands.NO),
    "an attempt that started twice": (
        add("worker-1", start("s", "q#0", "q", 3, allocation="C", device="core1", route="search", phase="search")),
        "attempt_recorded_twice", Stands.NO,
    ),
    "an epoch of an attempt that never started": (add("worker-1", progress("x#0", 50, 1)), "never_started", Stands.NO),
    "a heartbeat of an attempt that never started": (add("worker-1", beat("x#0", 50)), "never_started", Stands.NO),
    "a sampler's record of an attempt that never started": (
        add("worker-1", node_beat(50, "q#0", "x#0")), "never_started", Stands.NO,
    ),
    "what was measured of an attempt that never started": (
        add("worker-1", {"kind": Kind.ATTEMPT_MEASURED, "t": 50, "attempt": "x#0", "node": "n", "measurement": {}}),
        "never_started", Stands.NO,
    ),
    "an attempt that a sampler saw after its end": (
        add("driver", node_beat(72, "q#0")), "work_outside_attempt", Stands.NO,
    ),
    "an attempt that a sampler saw before its start": (
        add("driver", node_beat(1.5, "p#1")), "work_outside_attempt", Stands.NO,
    ),
    "work of an attempt that never started": (add("worker-1", work("x#0", 50)), "never_started", Stands.NO),
    "an end of an attempt that never started": (add("worker-1", ok("x#0", 50)), "never_started", Stands.NO),
    "the start of an attempt left out": (drop("attempt_started", "q#0"), "never_started", Stands.NO),
    "an allocation that closed and never opened": (
        add("driver", free("s", "Z", 50)), "allocation_never_opened", Stands.MAY_SHIFT,
    ),
    "the opening of an allocation left out": (drop("allocation_opened", "C"), "no_allocation_record", Stands.MAY_SHIFT),
    "an allocation in which nothing began": (
        both(edit("session_closed", t=99), add("driver", alloc("s", "Z", 85), free("s", "Z", 90))),
        "unattributed", Stands.YES,
    ),
    "two attempts in one allocation at once": (
        add("worker-1", start("s", "p#2", "p", 30, allocation="A"), ok("p#2", 39)), "overlaps", Stands.NO,
    ),
    "an attempt after its allocation closed": (edit("allocation_closed", t=30), "outside_allocation", Stands.NO),
    "an attempt before its allocation opened": (edit("allocation_opened", t=8), "outside_allocation", Stands.NO),
    "a device that the session has not": (
        both(edit("allocation_opened", devices={"core9": 1.0}), edit("attempt_started", devices={"core9": 1.0})),
        "unknown_device", Stands.NO,
    ),
    "devices that the allocation did not hold": (
        edit("attempt_started", devices={"core1": 1.0}), "devices_differ", Stands.MAY_SHIFT,
    ),
    "more held than there is": (edit("allocation_opened", devices={"core0": 1.5}), "over_allocated", Stands.NO),
    "a device held twice at once": (
        both(add("driver", alloc("s", "Z", 20), free("s", "Z", 30)),
             add("worker-1", start("s", "z#0", "z", 21, allocation="Z"), ok("z#0", 29))),
        "over_allocated", Stands.NO,
    ),
    "a session that ended before its work": (edit("session_closed", t=60), "outside_session", Stands.NO),
    "a session that began after its work": (edit("session_opened", t=10), "outside_session", Stands.NO),
    "a session that never closed": (drop("session_closed"), "session_not_closed", Stands.YES),
    "a session that never opened": (drop("session_opened"), "driver_segment_missing", Stands.NO),
    "a second outcome": (
        add("worker-0", start("s", "p#2", "p", 40.2, allocation="A"), work("p#2", 40.4), ok("p#2", 40.8)),
        "two_outcomes", Stands.YES,
    ),
    "an attempt after the outcome": (
        add("worker-0", start("s", "p#2", "p", 40.2, allocation="A"), failed("p#2", 40.8)), "after_outcome", Stands.YES,
    ),
    "a job without an end in a study that was done": (drop("attempt_ended", "q#0"), "job_without_end", Stands.NO),
    "a parent without attempts": (
        lambda ledger: of(ledger, "attempt_started", "f#0").update(spec={"init_from": "gone"}),  # type: ignore[typeddict-unknown-key]
        "input_without_attempt", Stands.NO,
    ),
    "a structure without attempts": (
        lambda ledger: of(ledger, "attempt_started", "f#0").update(spec={"structure_from": "gone"}),  # type: ignore[typeddict-unknown-key]
        "input_without_attempt", Stands.NO,
    ),
    "a parent without an outcome": (
        both(edit("attempt_ended", "p#1", status="failed", outcome=None), add("driver", abandoned("s", "p", 41.5))),
        "input_without_outcome", Stands.NO,
    ),
    "a clock that went back": (edit("progress", "p#1", t=5), "clock_backwards", Stands.NO),
    "a heartbeat from before": (edit("heartbeat", "p#1", t=5), "clock_backwards", Stands.NO),
    "a long time unseen": (
        both(drop("attempt_ended", "q#0"), drop("allocation_closed", "C"), add("driver", abandoned("s", "q", 70))),
        "uncertain", Stands.MAY_SHIFT,
    ),
    "a moment unseen in a long study": (_seen_often, "little_uncertain", Stands.YES),
    "an accuracy beyond 1": (edit("progress", "q#0", val_top1=71.2), "accuracy_impossible", Stands.NO),
    "a negative accuracy": (edit("progress", "q#0", val_top1=-0.1), "accuracy_impossible", Stands.NO),
    "an outcome in percent": (edit("attempt_ended", "q#0", outcome={"val_top1": 71.2}), "accuracy_impossible", Stands.NO),
    "a test accuracy in percent": (
        edit("attempt_ended", "q#0", outcome={"test_top1": 71.2}), "accuracy_impossible", Stands.NO,
    ),
    "an epoch too many": (edit("progress", "q#0", epoch=4), "epoch_impossible", Stands.NO),
    "another route at the same job": (edit("attempt_started", "p#1", route="search"), "job_differs", Stands.NO),
    "another replicate at the same job": (edit("attempt_started", "p#1", replicate=1), "job_differs", Stands.NO),
    "another target at the same job": (edit("attempt_started", "p#1", target=300), "job_differs", Stands.NO),
    "work before the start": (
        both(edit("attempt_started", "q#0", t=30), edit("progress", "q#0", t=60)), "work_outside_attempt", Stands.NO,
    ),
    "work after the end": (edit("attempt_ended", "q#0", work_end_t=75.0), "work_outside_attempt", Stands.NO),
    "work that began after the end": (edit("work_begun", "q#0", t=72), "work_outside_attempt", Stands.NO),
    "the end of an allocation left out": (drop("allocation_closed", "B"), "allocation_never_closed", Stands.MAY_SHIFT),
    "a session that opened twice": (add("driver", opened("s", 0.5)), "recorded_twice", Stands.NO),
    "a session that closed twice": (add("driver", closed("s", 81.5)), "recorded_twice", Stands.NO),
    "an allocation that opened twice": (add("driver", alloc("s", "C", 1.5, "core1")), "recorded_twice", Stands.NO),
    "an allocation that closed twice": (add("driver", free("s", "C", 70.5)), "recorded_twice", Stands.NO),
    "work that began twice": (add("worker-1", work("q#0", 5)), "recorded_twice", Stands.NO),
    "an attempt that held nothing": (
        both(edit_all("allocation_opened", devices={}), edit_all("attempt_started", devices={})), "holds_nothing", Stands.NO,
    ),
    "an attempt that held none of a device": (
        both(edit_all("allocation_opened", devices={"core0": 0.0}), edit_all("attempt_started", devices={"core0": 0.0})),
        "holds_nothing", Stands.NO,
    ),
    "a time of another century": (edit("session_closed", t=8e9), "time_impossible", Stands.NO),
    "a time before there were clocks": (edit("session_opened", t=-5.0), "time_impossible", Stands.NO),
    "driver's work longer than its session": (
        add("driver", driver_work("s", 50, 5000)), "driver_work_impossible", Stands.YES,
    ),
    "a negative replicate": (edit("attempt_started", "q#0", replicate=-1), "number_impossible", Stands.NO),
    "a negative target": (edit("attempt_started", "q#0", target=-500), "number_impossible", Stands.NO),
    "a target of no MACs": (edit("attempt_started", "q#0", target=0), "number_impossible", Stands.NO),
    "a network of negative MACs": (edit("attempt_started", "q#0", network_macs=-1), "number_impossible", Stands.NO),
    "work that began before the first epoch": (edit("work_begun", "q#0", epoch=-1), "number_impossible", Stands.NO),
    "an outcome of negative MACs": (edit("attempt_ended", "q#0", outcome={"macs": -5}), "number_impossible", Stands.NO),
    "MACs in words": (edit("attempt_ended", "q#0", outcome={"macs": "0.5M"}), "number_impossible", Stands.NO),
    "an accuracy in words": (
        edit("attempt_ended", "q#0", outcome={"val_top1": "0.7"}), "accuracy_impossible", Stands.NO,
    ),
    "a switch for an accuracy": (
        edit("attempt_ended", "q#0", outcome={"test_top1": True}), "accuracy_impossible", Stands.NO,
    ),
    "a curve in percent": (
        edit("attempt_ended", "q#0", outcome={"val_curve": [0.5, 71.2]}), "accuracy_impossible", Stands.NO,
    ),
    "scores in words": (edit("attempt_ended", "q#0", outcome={"scores": "good"}), "accuracy_impossible", Stands.NO),
    "an epoch that ended twice": (add("worker-1", progress("q#0", 61, 1)), "epoch_impossible", Stands.NO),
    "epochs in another order": (
        both(edit("progress", "p#1", epoch=3), lambda ledger: ledger["worker-0"][8].update(epoch=2)),
        "epoch_impossible", Stands.NO,
    ),
}  # fmt: skip


def test_the_clean_ledger_is_clean(tmp_path: Path) -> None:
    put(tmp_path, clean())
    assert found_in(tmp_path) == {}


@pytest.mark.parametrize("case", SAID)
def test_what_records_say_wrongly_is_found(tmp_path: Path, case: str) -> None:
    change, code, stands = SAID[case]
    ledger = clean()
    change(ledger)
    put(tmp_path, ledger)
    assert found_in(tmp_path).get(code) is stands


@pytest.mark.parametrize("case", [*LINE_DAMAGE, *FILE_DAMAGE])
def test_what_was_done_to_the_files_is_found(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "ledger"
    write(folder, "s1", 1000, ("p", "q"), ends=False)
    write(folder, "s2", 2000, ("r", "t"))
    if case in LINE_DAMAGE:
        damage, code, _ = LINE_DAMAGE[case]
        damage(segment(folder, "worker-0"))
    else:
        change, code = FILE_DAMAGE[case]
        change(folder)
    assert code in found_in(folder)


def test_there_are_at_least_forty_kinds() -> None:
    assert len(SAID) + len(LINE_DAMAGE) + len(FILE_DAMAGE) >= 90


def gpus(amount: float) -> dict[str, Records]:
    """A session on two GPUs, whose one attempt names another amount of them than its allocation."""
    held = alloc("s", "A", 1) | {"devices": {}, "amounts": {"cuda": amount}}
    return {
        "driver": [opened("s", 0, {"GPU-1": 1.0, "GPU-2": 1.0}, "cuda"), held, free("s", "A", 41), closed("s", 42)],
        "worker-0": [start("s", "p#0", "p", 2, allocation="A", device="GPU-1"), work("p#0", 3), ok("p#0", 40, 39)],
    }  # fmt: skip


def test_gpus_that_an_attempt_does_not_name_are_found(tmp_path: Path) -> None:
    put(tmp_path / "one", gpus(1.0))
    assert found_in(tmp_path / "one") == {}
    put(tmp_path / "two", gpus(2.0))
    assert found_in(tmp_path / "two") == {"amounts_differ": Stands.MAY_SHIFT}


SOURCES = Path(__file__).parents[2] / "accounting"


def test_whatever_a_check_may_say_has_a_meaning() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py") if path.name != "meanings.py")
    said = set(re.findall(r'Finding\(\s*"(?:error|warning)",\s*"(\w+)"', text))
    said |= set(re.findall(r'problems\.append\(\(\s*"(\w+)"', text))
    table = text[text.index("_BAD_FLAGS = {") :]
    said |= set(re.findall(r'^    "(\w+)":', table[: table.index("}")], re.M))
    assert said == set(MEANINGS)
