"""Audit reproduces the balances of the golden ledger worked out by hand, and reports every finding once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from ledger_records import (
    abandoned,
    alloc,
    beat,
    closed,
    failed,
    free,
    golden,
    ok,
    opened,
    progress,
    start,
    work,
)

from accounting.audit.audit import AuditReport, audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind, Record
from accounting.ledger.store import LedgerWriter, read_lean, read_ledger


def codes(report: AuditReport, severity: str) -> set[str]:
    return {finding.code for finding in report.findings if finding.severity == severity}


def test_golden_balances() -> None:
    report = audit(golden())
    assert report.ok
    table = {
        (b.session, b.device): (b.capacity_s, b.allocated_s, b.idle_s, b.productive_s, b.overhead_s, b.lost_s)
        for b in report.balances
    }
    assert table == {
        ("s1", "core0"): (100, 85, 15, 50, 11, 24),  # a1 a2 a3
        ("s1", "core1"): (100, 92, 8, 45, 9, 38),  # b1 c1
        ("s2", "core0"): (80, 38, 42, 22, 16, 0),  # d1 d2
        ("s2", "core1"): (80, 48, 32, 0, 3, 45),  # e1 e2
    }
    assert {b.imbalance for b in report.balances} == {0}
    assert {b.session: b.driver_work_s for b in report.balances} == {"s1": 0, "s2": 4}


def test_golden_findings_are_warnings() -> None:
    assert codes(audit(golden()), "warning") == {"two_outcomes", "after_outcome", "session_not_closed", "uncertain"}


def fine() -> list[Record]:
    return [
        opened("s", 0),
        alloc("s", "A", 2),
        start("s", "a", "j", 3, allocation="A"),
        work("a", 4),
        ok("a", 80, work_end_t=79),
        free("s", "A", 82),
        closed("s", 100),
    ]


def test_nothing_is_found_in_a_fine_ledger() -> None:
    assert audit(fine()).findings == ()
    assert audit([]).ok


@pytest.mark.parametrize(
    ("code", "added"),
    [
        ("attempt_recorded_twice", [start("s", "a", "j", 3, allocation="A")]),
        ("attempt_recorded_twice", [ok("a", 81)]),
        ("never_started", [ok("ghost", 50)]),
        ("never_started", [work("ghost", 50)]),
        ("over_allocated", [alloc("s", "B", 10), start("s", "b", "k", 11, allocation="B"), ok("b", 50), free("s", "B", 50)]),
        ("imbalance", [alloc("s", "B", 10), start("s", "b", "k", 11, allocation="B"), ok("b", 50), free("s", "B", 50)]),
        ("overlaps", [start("s", "b", "k", 50, allocation="A"), ok("b", 81)]),
        ("outside_allocation", [start("s", "b", "k", 81, allocation="A"), ok("b", 95)]),
        ("outside_session", [start("s", "b", "k", 90, device="core1"), ok("b", 130)]),
        ("job_without_end", [start("s", "b", "k", 90, device="core1"), failed("b", 95)]),
        ("unknown_device", [start("s", "b", "k", 90, device="core9"), ok("b", 95)]),
    ],
)  # fmt: skip
def test_errors(code: str, added: list[Record]) -> None:
    report = audit(fine() + added)
    assert code in codes(report, "error")
    assert not report.ok


@pytest.mark.parametrize(
    ("code", "added"),
    [
        ("two_outcomes", [start("s", "b", "j", 50, device="core1"), ok("b", 81)]),
        ("after_outcome", [start("s", "b", "j", 90, device="core1"), failed("b", 95)]),
        ("no_allocation_record", [start("s", "b", "k", 90, allocation="X", device="core1"), ok("b", 95)]),
        ("allocation_never_opened", [free("s", "X", 90)]),
        ("unattributed", [alloc("s", "B", 10, "core1"), free("s", "B", 30)]),
        ("unattributed", [alloc("s", "B", 95, "core1")]),
        ("devices_differ", [alloc("s", "B", 9, "core1"), start("s", "b", "k", 11, allocation="B"), ok("b", 20)]),
        ("session_not_opened", [start("s9", "b", "k", 90, device="core1"), ok("b", 95)]),
        ("uncertain", [start("s", "b", "k", 20, device="core1"), beat("b", 60), abandoned("s", "k", 70)]),
    ],
)  # fmt: skip
def test_warnings(code: str, added: list[Record]) -> None:
    report = audit(fine() + added)
    assert code in codes(report, "warning")
    assert report.ok


def test_what_may_have_been_held_unseen_is_said_by_route_against_what_it_held() -> None:
    """Each lost attempt may have lasted 10 s longer, until it was given up; search held 20 s beside, so 40 s on record."""
    records = [
        opened("s", 0),
        start("s", "a", "j", 10, route="search"), work("a", 11), beat("a", 30), abandoned("s", "j", 40),
        start("s", "b", "k", 40, route="search"), work("b", 41), ok("b", 60, 59),
        start("s", "c", "l", 60, device="core1"), work("c", 61), beat("c", 70), abandoned("s", "l", 80),
        closed("s", 90),
    ]  # fmt: skip
    (found,) = [finding for finding in audit(records).findings if finding.code == "uncertain"]
    assert found.message == (
        "session s: up to 20.0 device-seconds may have been held unseen, more than 1 % of 180.0; by route, against all that "
        "it held: search 10.0 of 40.0 (25.0 %), prune 10.0 of 10.0 (100.0 %)"
    )


def test_edges_between_two_looks_are_not_held_unseen() -> None:
    """They can be less than what is billed; the warning is about what may be missing."""
    records: list[Record] = [
        opened("s", 0),
        {**alloc("s", "A", 10), "looked_t": 5},
        start("s", "a", "j", 11, allocation="A"),
        work("a", 12),
        ok("a", 30, 29),
        {**free("s", "A", 40), "looked_t": 31},
        closed("s", 50),
    ]
    assert "uncertain" not in codes(audit(records), "warning")


def began_from(source: str, name: str = "init_from") -> Record:
    return start("s", "b", "k", 84, device="core1") | {"spec": {name: source}}


@pytest.mark.parametrize("name", ["init_from", "structure_from"])
class TestInputs:
    """Whatever a job began from was made by an attempt that is on record."""

    def found(self, *added: Record) -> list[tuple[str, str]]:
        report = audit([*fine()[:-1], *added, closed("s", 100, "interrupted")])
        return [(finding.code, finding.message) for finding in report.findings if finding.severity == "error"]

    def test_one_without_an_attempt_is_an_error_that_names_both_jobs(self, name: str) -> None:
        ((code, message),) = self.found(began_from("gone", name), ok("b", 90, 89))
        assert code == "input_without_attempt"
        assert message.startswith("job k began from gone, ")

    def test_one_without_an_ok_outcome_is_an_error_that_names_both_jobs(self, name: str) -> None:
        before = [start("s", "c", "half", 60, device="core1"), failed("c", 70)]
        ((code, message),) = self.found(*before, began_from("half", name), ok("b", 90, 89))
        assert code == "input_without_outcome"
        assert message.startswith("job k began from half, ")

    def test_one_that_is_on_record_is_fine(self, name: str) -> None:
        assert self.found(began_from("j", name), ok("b", 90, 89)) == []

    def test_it_is_said_once_however_many_attempts_began_from_it(self, name: str) -> None:
        again = began_from("gone", name) | {"attempt": "b2", "t": 92}
        found = self.found(began_from("gone", name), ok("b", 90, 89), again, ok("b2", 95, 94))
        assert [code for code, _ in found] == ["input_without_attempt"]

    def test_an_attempt_that_failed_for_want_of_its_input_is_none(self, name: str) -> None:
        assert self.found(began_from("gone", name), failed("b", 90)) == []


def test_unattributed_allocations_still_balance() -> None:
    report = audit([*fine(), alloc("s", "B", 10, "core1"), free("s", "B", 30)])
    (balance,) = (b for b in report.balances if b.device == "core1")
    assert (balance.allocated_s, balance.unattributed_s, balance.idle_s, balance.imbalance) == (20, 20, 80, 0)
    assert (balance.productive_s, balance.overhead_s, balance.lost_s) == (0, 20, 0)


def test_an_unclosed_session_is_a_warning_and_ends_at_its_last_record() -> None:
    report = audit(fine()[:-1])
    assert codes(report, "warning") == {"session_not_closed"}
    assert report.balances[0].wall_s == 82


def test_an_interrupted_study_may_leave_jobs_open() -> None:
    records = [*fine()[:-1], start("s", "b", "k", 83, device="core1"), failed("b", 95), closed("s", 100, "interrupted")]
    assert audit(records).ok


def test_each_finding_is_one_line() -> None:
    for finding in audit([*golden(), ok("ghost", 50), ok("a1", 60)]).findings:
        assert finding.message and "\n" not in finding.message


def test_errors_come_first() -> None:
    severities = [finding.severity for finding in audit([*golden(), ok("ghost", 50)]).findings]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


def test_gpu_balance_with_half_a_device() -> None:
    records = [
        opened("s", 0, {"GPU-1": 1.0}, "cuda"),
        alloc("s", "A", 0, "GPU-1", 0.5),
        alloc("s", "B", 0, "GPU-1", 0.5),
        start("s", "a", "j", 1, allocation="A", device="GPU-1", amount=0.5),
        work("a", 2),
        ok("a", 10, 10),
        free("s", "A", 10),
        start("s", "b", "k", 1, allocation="B", device="GPU-1", amount=0.5),
        work("b", 4),
        progress("b", 8, 1),
        ok("b", 20, 20),
        free("s", "B", 20),
        closed("s", 20),
    ]
    report = audit(records)
    assert report.findings == ()
    (balance,) = report.balances
    assert balance.device_kind == "cuda"
    assert (balance.allocated_s, balance.idle_s, balance.capacity_s) == (15, 5, 20)
    assert (balance.productive_s, balance.overhead_s, balance.lost_s) == (12, 3, 0)


def test_an_allocation_that_does_not_know_its_gpus_holds_those_of_its_attempts() -> None:
    records = [
        opened("s", 0, {"GPU-1": 1.0}, "cuda"),
        alloc("s", "A", 2) | {"devices": {}},
        start("s", "a", "j", 5, allocation="A", device="GPU-1"),
        work("a", 6),
        ok("a", 16, 15),
        free("s", "A", 18),
        closed("s", 20),
    ]
    report = audit(records)
    assert report.findings == ()
    (balance,) = report.balances
    assert (balance.allocated_s, balance.idle_s, balance.productive_s, balance.overhead_s) == (16, 4, 9, 7)


def test_the_golden_ledger_survives_the_disk(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, "s1", "driver", clock=lambda: 0.0) as writer:
        for record in golden():
            fields = {name: value for name, value in record.items() if name not in ("kind", "t")}
            writer.append(record["kind"], t=record["t"], **fields)
    records = read_ledger(tmp_path).records
    assert derive(records).attempts == derive(golden()).attempts
    assert audit(records).balances == audit(golden()).balances
    assert audit(records).ok


def written(folder: Path, times: Iterable[float]) -> AuditReport:
    ticks = iter([0.0, *times])
    with LedgerWriter(folder, "s", "driver", clock=lambda: next(ticks)) as writer:
        for _ in range(3):
            writer.append(Kind.JOB_ABANDONED, session="s", job="j", reason="x")
        writer.append(Kind.DRIVER_WORK, t=0.5, **{k: v for k, v in DRIVER_WORK.items() if k not in ("kind", "t")})
    return audit(read_ledger(folder).records)


DRIVER_WORK = {
    "session": "s",
    "route": "search",
    "phase": "search",
    "target": None,
    "replicate": 0,
    "duration_s": 0.1,
}


def test_a_clock_running_backwards_is_found(tmp_path: Path) -> None:
    report = written(tmp_path, [0, 1, 50, 20, 21])
    (finding,) = (f for f in report.findings if f.code == "clock_backwards")
    assert "jsonl:4: the clock went back by 30.0 s" in finding.message


def test_a_record_of_the_past_is_no_clock_running_backwards(tmp_path: Path) -> None:
    report = written(tmp_path, [0, 1, 50, 60, 61])
    assert "clock_backwards" not in codes(report, "error")


BEATS_FROM_THE_PAST = [0.0, 10.0, 20.0, 15.0, 16.0, 900.0]


@pytest.mark.parametrize("times", [[0.0, 10.0, 20.0, 30.0, 40.0, 900.0], BEATS_FROM_THE_PAST])
def test_clocks_are_compared_line_by_line_however_a_ledger_is_read(tmp_path: Path, times: list[float]) -> None:
    """A lean read takes heartbeats at once and other lines in batches, so not in file order; findings stay the same."""
    ticks = iter([0.0, *times, *[times[-1]] * 3])
    with LedgerWriter(tmp_path, "s", "worker", clock=lambda: next(ticks)) as writer:
        for number in range(5):
            if number % 2:
                writer.append(Kind.HEARTBEAT, attempt="a")
            else:
                writer.append(Kind.JOB_ABANDONED, session="s", job="j", reason="x")
        writer.append(Kind.JOB_ABANDONED, session="s", job="j", reason="x")
    whole, lean = read_ledger(tmp_path), read_lean(tmp_path)
    found = [
        [f.message for f in audit(read.records, read.findings, read.points).findings if f.code == "clock_backwards"]
        for read in (whole, lean)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == (times is BEATS_FROM_THE_PAST)


def test_heartbeats_of_one_process_are_kept_when_another_wrote_no_end_of_an_epoch(tmp_path: Path) -> None:
    """In a lean read, a process that wrote only heartbeats has no progress rows."""
    for number in range(3):
        with LedgerWriter(tmp_path, "s", f"worker-{number}", clock=lambda: 5.0) as writer:
            writer.append(Kind.HEARTBEAT, attempt=f"a{number}")
    points = read_lean(tmp_path).points
    assert points is not None
    assert points.beats == {f"a{number}": [1, 5.0, 5.0] for number in range(3)}
