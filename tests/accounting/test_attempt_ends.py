"""How attempts end: signs that one is lost, how uncertain the edges of allocations are, and what drivers said of a loss."""

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
    lost,
    ok,
    only,
    opened,
    split,
    start,
    work,
)

from accounting.cost.attempts import derive
from accounting.ledger.records import Record, Status


@pytest.mark.parametrize(
    "sign",
    [
        [closed("s", 50)],
        [opened("s2", 50)],
        [abandoned("s", "j", 50)],
        [free("s", "A", 50)],
        [start("s", "b", "j", 50)],
        [start("s", "b", "k", 50, allocation="A")],
    ],
    ids=["session closed", "later session", "abandoned", "allocation closed", "later attempt", "actor went on"],
)
def test_signs_that_an_attempt_is_lost(sign: list[Record]) -> None:
    begun = [opened("s", 0), alloc("s", "A", 0), start("s", "a", "j", 1, allocation="A"), work("a", 2), beat("a", 9)]
    assert by_id(derive(begun))["a"].status is Status.RUNNING
    assert by_id(derive(begun + sign))["a"].status is Status.LOST


def test_a_lost_attempt_is_held_until_its_allocation_closed() -> None:
    begun = [opened("s", 0), alloc("s", "A", 0), start("s", "a", "j", 1, allocation="A"), work("a", 2), beat("a", 9)]
    got = only([*begun, free("s", "A", 14), closed("s", 20)])
    assert (got.status, got.end_t, got.uncertainty_s) == (Status.LOST, 14, 0)
    assert only([*begun, closed("s", 20)]).uncertainty_s == 10


def looked(record: Record, looked_t: float) -> Record:
    """The record of an edge that was seen at its ``t``, and at the look before not yet."""
    return {**record, "looked_t": looked_t}


def reused() -> list[Record]:
    """One allocation of two devices, which was seen to open and to close, with three attempts in it."""
    return [
        opened("s", 0, {"core0": 2.0}),
        looked(alloc("s", "A", 10, amount=2), 9.75),
        start("s", "a", "i", 11, allocation="A"), ok("a", 20),
        start("s", "b", "j", 21, allocation="A"), ok("b", 30),
        start("s", "c", "k", 31, allocation="A"), ok("c", 40),
        looked(free("s", "A", 42), 41.5),
    ]  # fmt: skip


def test_an_edge_of_an_allocation_is_uncertain_by_the_time_between_two_looks() -> None:
    """An edge between two attempts was written by their worker."""
    view = derive([*reused(), closed("s", 50)])
    assert [attempt.uncertainty_s for attempt in view.attempts] == [2 * 0.25, 0, 2 * 0.5]
    without = [{name: value for name, value in record.items() if name != "looked_t"} for record in reused()]
    old = derive([*without, closed("s", 50)])  # type: ignore[list-item]
    assert [attempt.uncertainty_s for attempt in old.attempts] == [0, 0, 0]
    assert [dataclasses.replace(attempt, uncertainty_s=0.0) for attempt in view.attempts] == list(old.attempts)


def test_what_an_attempt_wrote_itself_narrows_the_edges() -> None:
    records = [
        opened("s", 0),
        looked(alloc("s", "A", 10), 8),
        start("s", "a", "j", 9.5, allocation="A"),
        ok("a", 19),
        looked(free("s", "A", 20), 18),
    ]
    assert only(records).uncertainty_s == pytest.approx((9.5 - 8) + (20 - 19))
    late = only([*records[:-2], ok("a", 20.5), looked(free("s", "A", 20), 18)])
    assert (late.end_t, late.uncertainty_s) == (20.5, 1.5)


def test_a_lost_attempt_without_a_closing_is_uncertain_at_both_ends() -> None:
    records = [opened("s", 0), looked(alloc("s", "A", 10), 9), start("s", "a", "j", 11, allocation="A"), work("a", 12)]
    got = only([*records, closed("s", 20)])
    assert (got.end_t, got.uncertainty_s) == (12, 1 + 10)


def test_a_start_up_is_uncertain_at_both_ends() -> None:
    records = [opened("s", 0), looked(alloc("s", "A", 10, amount=2), 9), looked(free("s", "A", 20), 19.5)]
    (found,) = derive([*records, closed("s", 30)]).startups
    assert (found.allocated_s, found.uncertainty_s) == (20, 2 * (1 + 0.5))
    (old,) = derive([opened("s", 0), alloc("s", "A", 10), free("s", "A", 20), closed("s", 30)]).startups
    assert old.uncertainty_s == 0


def test_a_lost_attempt_has_the_reason_that_its_driver_was_told_and_costs_what_it_did_without() -> None:
    records = [
        opened("s1", 0),
        alloc("s1", "a", 1),
        start("s1", "j#1", "j", 2, allocation="a"),
        work("j#1", 4),
        free("s1", "a", 10),
        alloc("s1", "b", 12),
        start("s1", "j#2", "j", 13, allocation="b"),
        failed("j#2", 20, "loss is NaN"),
        free("s1", "b", 20),
        alloc("s1", "c", 20),
        start("s1", "j#3", "j", 21, allocation="c"),
        work("j#3", 22),
        ok("j#3", 30, 29),
        free("s1", "c", 31),
        closed("s1", 31),
    ]
    told = [
        lost("s1", "j", 9, "out of memory"),
        lost("s1", "i", 3, "of another job"),
        lost("s1", "j", 21, "gone as well"),
    ]
    found = by_id(derive([*records, *told]))
    assert [found[name].reason for name in ("j#1", "j#2", "j#3")] == ["out of memory", "loss is NaN", None]
    plain = by_id(derive(records))
    assert plain["j#1"].reason is None
    assert [(a.begin_t, a.end_t, a.status, split(a)) for a in found.values()] == [
        (a.begin_t, a.end_t, a.status, split(a)) for a in plain.values()
    ]


def test_a_session_whose_clock_was_ahead_is_over_once_the_next_one_has_begun() -> None:
    """The session was killed at 9,030 by its own clock, which was ahead; the next begins at 100 by a correct one."""
    then: Record = {**opened("s2", 100), "after": "s1"}  # type: ignore[typeddict-item]
    records = [
        opened("s1", 9000), start("s1", "a#1", "a", 9010), work("a#1", 9011), beat("a#1", 9030),
        then, start("s2", "a#2", "a", 110), work("a#2", 111), ok("a#2", 120, 119), closed("s2", 121),
    ]  # fmt: skip
    view = derive(records)
    assert {attempt.attempt: attempt.status for attempt in view.attempts} == {"a#1": Status.LOST, "a#2": Status.OK}
    assert by_id(view)["a#1"].allocated_s == 20
    assert [session.session for session in view.sessions] == ["s1", "s2"]
    assert view.sessions[-1].reason == "done"
