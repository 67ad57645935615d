"""Attempts derived from a golden ledger match numbers worked out by hand; each rule of the definition is tested too."""

from __future__ import annotations

import dataclasses

import pytest
from ledger_records import (
    abandoned,
    alloc,
    beat,
    by_id,
    closed,
    failed,
    free,
    golden,
    ok,
    only,
    opened,
    progress,
    split,
    start,
    work,
)

from accounting.cost.attempts import CostView, derive
from accounting.ledger.records import Record, Status

# attempt: begin, end, status, (productive, overhead, lost), uncertainty
GOLDEN = {
    "a1": (5, 32, Status.OK, (20, 5 + 2, 0), 0),  # from the allocation's opening; works 10-30
    "a2": (32, 50, Status.FAILED, (10, 2, 6), 0),  # from a1's end; d2 resumed from its epoch 1 (at 44)
    "a3": (50, 90, Status.LOST, (20, 2, 18), 10),  # until the last heartbeat; d1 resumed from epoch 2 (at 72)
    "b1": (6, 60, Status.OK, (45, 3 + 6, 0), 0),  # until the allocation's close
    "c1": (62, 100, Status.LOST, (0, 0, 38), 5),  # killed before any work
    "d1": (122, 140, Status.OK, (12, 4 + 2, 0), 0),
    "d2": (140, 160, Status.OK, (10, 3 + 7, 0), 0),  # the last of its allocation: until the close
    "e1": (122, 140, Status.FAILED, (0, 3, 15), 0),  # its job is abandoned
    "e2": (140, 170, Status.OK, (0, 0, 30), 0),  # j1 was already done
}


@pytest.mark.parametrize("attempt", GOLDEN)
def test_golden_attempt(attempt: str) -> None:
    begin, end, status, parts, uncertainty = GOLDEN[attempt]
    got = by_id(derive(golden()))[attempt]
    assert (got.begin_t, got.end_t, got.status) == (begin, end, status)
    assert split(got) == pytest.approx(parts)
    assert got.allocated_s == end - begin == pytest.approx(sum(parts))
    assert got.uncertainty_s == uncertainty


def test_golden_view() -> None:
    view = derive(golden())
    assert set(by_id(view)) == set(GOLDEN)
    assert view.unit == "cpu_core_hours"
    assert [a.attempt for a in view.attempts] == ["a1", "b1", "a2", "a3", "c1", "d1", "e1", "d2", "e2"]
    jobs = {job.job: job for job in view.jobs}
    assert {name: job.status for name, job in jobs.items()} == {
        "j1": Status.OK,
        "j2": Status.OK,
        "j3": Status.OK,
        "j4": Status.OK,
        "j5": Status.FAILED,
    }
    assert jobs["j1"].outcome == {"by": "a1"}  # the first, not the duplicate e2
    assert jobs["j1"].attempts == ("a1", "e2")
    assert jobs["j5"].outcome is None
    first, second = view.sessions
    assert (first.begin_t, first.end_t, first.closed, first.reason) == (0, 100, False, None)
    assert (second.begin_t, second.end_t, second.closed, second.reason) == (120, 200, True, "done")
    assert [device.device for device in first.capacity] == ["core0", "core1"]
    (driver,) = view.driver_work
    assert (driver.begin_t, driver.end_t, driver.duration_s) == (176, 180, 4)
    assert [(p.attempt, p.epoch) for p in view.progress] == [
        ("a1", 1), ("a1", 2), ("a2", 1), ("a3", 1), ("a3", 2), ("a3", 3), ("e1", 1), ("d1", 3),
    ]  # fmt: skip
    assert view.progress[0].val_top1 == pytest.approx(0.1)


def test_order_of_records_does_not_matter() -> None:
    assert derive(list(reversed(golden()))).attempts == derive(golden()).attempts


def test_a_view_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        derive(golden()).unit = "gpu_hours"  # type: ignore[misc]


def test_empty_ledger() -> None:
    view = derive([])
    assert view == CostView((), (), (), (), "cpu_core_hours", ())


def test_without_an_allocation_cost_is_from_the_start() -> None:
    got = only([opened("s", 0), start("s", "a", "j", 3), work("a", 5), ok("a", 10, work_end_t=9)])
    assert (got.begin_t, got.end_t, got.flags) == (3, 10, ())
    assert split(got) == (4, 3, 0)


def test_an_allocation_that_is_not_on_record_is_flagged() -> None:
    got = only([opened("s", 0), start("s", "a", "j", 3, allocation="X"), work("a", 5), ok("a", 10)])
    assert got.flags == ("no_allocation_record",)
    assert split(got) == (5, 2, 0)  # no work_end_t: the work lasts until the end


def test_amount_of_device_multiplies() -> None:
    records = [
        opened("s", 0, {"core0": 4.0}),
        alloc("s", "A", 0, amount=2.5),
        start("s", "a", "j", 2, allocation="A", amount=2.5, heartbeat_s=4),
        work("a", 4),
        beat("a", 10),
        opened("s2", 100),
    ]
    got = only(records)
    assert got.status is Status.LOST
    assert (got.allocated_s, *split(got), got.uncertainty_s) == (25, 0, 10, 15, 10)


def test_the_allocation_says_what_was_held() -> None:
    got = only([opened("s", 0), alloc("s", "A", 0, amount=2), start("s", "a", "j", 0, allocation="A"), ok("a", 5)])
    assert got.devices == {"core0": 2}
    assert got.allocated_s == 10


def test_running_ends_now_and_is_provisionally_productive() -> None:
    records = [opened("s", 0), alloc("s", "A", 1), start("s", "a", "j", 2, allocation="A"), work("a", 4), beat("a", 9)]
    got = only(records, now=20)
    assert (got.status, got.end_t, got.uncertainty_s) == (Status.RUNNING, 20, 0)
    assert split(got) == (16, 3, 0)
    assert only(records).end_t == only(records, now=7).end_t == 9
    view = derive(records, now=20)
    assert view.jobs[0].status is Status.RUNNING
    assert view.sessions[0].end_t == 20


def test_running_before_any_work_is_overhead() -> None:
    got = only([opened("s", 0), start("s", "a", "j", 2)], now=12)
    assert (got.status, *split(got)) == (Status.RUNNING, 0, 10, 0)


def test_a_pending_job_keeps_its_checkpoint() -> None:
    begun = [
        opened("s", 0),
        start("s", "a", "j", 0),
        work("a", 2),
        progress("a", 10, 1),
        beat("a", 14),
        closed("s", 20),
    ]
    assert split(only(begun)) == (8, 2, 4)
    assert derive(begun).jobs[0].status is Status.LOST
    assert split(only([*begun, abandoned("s", "j", 19)])) == (0, 2, 12)


def test_only_checkpoints_of_a_pending_job_are_kept() -> None:
    begun = [opened("s", 0), start("s", "a", "j", 0), work("a", 2), progress("a", 10, 1)]
    got = only([*begun, progress("a", 18, 2, checkpointed=False), failed("a", 20), closed("s", 30)])
    assert split(got) == (8, 2, 10)


def test_a_job_taken_up_after_abandonment_is_pending_again() -> None:
    records = [
        opened("s", 0),
        start("s", "a", "j", 0),
        work("a", 0),
        progress("a", 10, 1),
        failed("a", 10),
        abandoned("s", "j", 11),
        opened("s2", 20),
        start("s2", "b", "j", 20),
        work("b", 20, epoch=1),
        ok("b", 30, work_end_t=30),
    ]
    assert [split(a) for a in derive(records).attempts] == [(10, 0, 0), (10, 0, 0)]
    assert derive(records[:-3]).jobs[0].status is Status.FAILED
    resumed = derive(records[:-1])
    assert resumed.jobs[0].status is Status.RUNNING
    assert split(resumed.attempts[0]) == (10, 0, 0)
    assert derive(records).jobs[0].status is Status.OK


def chain(*begun_epochs: int, ends_ok: bool = True) -> list[Record]:
    """Build attempts of 100 s: the i-th begins from the given epoch and does 3 epochs of 10 s."""
    records = [opened("s", 0)]
    for place, epoch in enumerate(begun_epochs):
        name, t = f"a{place}", 100.0 * place
        records += [start("s", name, "j", t), work(name, t + 10, epoch)]
        records += [progress(name, t + 10 + 10 * done, epoch + done) for done in (1, 2, 3)]
        is_last = place == len(begun_epochs) - 1
        records.append(ok(name, t + 100, t + 100) if is_last and ends_ok else failed(name, t + 100))
    return records


@pytest.mark.parametrize(
    ("begun_epochs", "productive"),
    [
        ((0, 3), [30, 90]),  # resumed where it stopped
        ((0, 2), [20, 90]),  # the last checkpoint was missing: epoch 3 was repeated
        ((0, 0), [0, 90]),  # from scratch: nothing of the first attempt was kept
        ((0, 3, 6), [30, 30, 90]),
        ((0, 3, 3), [30, 0, 90]),  # the second attempt contributed nothing
        ((0, 3, 5), [30, 20, 90]),
        ((0, 3, 2), [20, 0, 90]),
        ((0, 3, 0), [0, 0, 90]),  # finally restarted from scratch
        ((0, 0, 3), [0, 30, 90]),  # only the second chain was kept
    ],
)
def test_only_work_that_was_built_on_is_productive(begun_epochs: tuple[int, ...], productive: list[float]) -> None:
    view = derive(chain(*begun_epochs))
    assert [attempt.productive_s for attempt in view.attempts] == productive
    assert [attempt.overhead_s for attempt in view.attempts] == [10] * len(begun_epochs)


def test_pending_chain_keeps_what_a_resume_would_use() -> None:
    view = derive(chain(0, 3, ends_ok=False))
    assert [attempt.productive_s for attempt in view.attempts] == [30, 30]
    restarted = derive(chain(0, 0, ends_ok=False))
    assert [attempt.productive_s for attempt in restarted.attempts] == [0, 30]


def test_ok_without_any_work_is_overhead() -> None:
    got = only([opened("s", 0), start("s", "a", "j", 1), ok("a", 5)])
    assert (split(got), got.flags) == ((0, 4, 0), ("no_work",))


def test_the_first_of_two_ends_counts() -> None:
    got = only([opened("s", 0), start("s", "a", "j", 1), work("a", 2), ok("a", 5, 4), ok("a", 9, 8)])
    assert (got.end_t, got.outcome) == (5, {"by": "a"})


def test_gpus_set_the_unit_and_their_cores_are_not_added() -> None:
    records = [
        opened("s", 0, {"GPU-1": 1.0}, "cuda"),
        start("s", "a", "j", 0, device="GPU-1", amount=0.5) | {"devices": {"GPU-1": 0.5, "n:cpu": 8.0}},
        ok("a", 10),
    ]
    view = derive(records)
    assert (view.unit, view.device_kind) == ("gpu_hours", "cuda")
    assert (view.attempts[0].device_kind, view.attempts[0].allocated_s) == ("cuda", 5)


def test_cuda_is_known_by_its_id_without_a_capacity() -> None:
    view = derive([start("s", "a", "j", 0, device="GPU-1"), ok("a", 10)])
    assert view.unit == "gpu_hours"
    assert view.sessions[0].capacity == ()


def test_devices_held_later_than_said_are_paid_and_flagged() -> None:
    records = [
        opened("s", 0),
        alloc("s", "A", 5),
        start("s", "a", "j", 2, allocation="A"),
        ok("a", 30),
        free("s", "A", 20),
        closed("s", 40),
    ]
    got = only(records)
    assert (got.begin_t, got.end_t) == (2, 30)
    assert "outside_allocation" in got.flags


def test_attempts_that_overlap_in_an_allocation_share_its_time() -> None:
    records = [
        opened("s", 0),
        alloc("s", "A", 0),
        start("s", "a", "j", 0, allocation="A"),
        start("s", "b", "k", 5, allocation="A"),
        ok("a", 10),
        ok("b", 15),
        free("s", "A", 20),
    ]
    first, second = derive(records).attempts
    assert (first.end_t, second.begin_t, second.end_t) == (10, 10, 20)
    assert "overlaps" in second.flags


def test_an_attempt_inside_another_costs_nothing_twice() -> None:
    records = [
        opened("s", 0),
        alloc("s", "A", 0),
        start("s", "a", "j", 0, allocation="A"),
        start("s", "b", "k", 5, allocation="A"),
        ok("b", 8),
        ok("a", 10),
        free("s", "A", 20),
    ]
    first, second = derive(records).attempts
    assert (first.allocated_s, second.allocated_s) == (10, 10)
    without_close = derive(records[:-1]).attempts
    assert [attempt.allocated_s for attempt in without_close] == [10, 0]
