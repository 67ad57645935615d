"""A replay by columns, without the steps that decide nothing, equals one attempt after another, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accounting.cost.progress import ProgressTable
from accounting.cost.values import Attempt
from accounting.ledger.points import Points
from accounting.ledger.records import Status
from reports.compare.reach import Steps, isotonic
from reports.compare.replay import replay

TARGET = 5
LEVELS = np.array([-np.inf, 0.0, 0.1, 0.25, 0.3, 0.5, 0.55, 0.7, 0.9, 1.0, np.inf])
COSTS = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.7, 1e9)
LENGTHS = st.sampled_from([0.0, 1.0, 3600.0, 1000.1, 7777.7])
TOP1S = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.31, 0.5, 0.7, 0.9, 1.0, float("nan")])
ATTEMPTS = st.lists(
    st.tuples(
        st.sampled_from("abcd"), st.sampled_from(["finetune", "supernet", "evaluate"]), st.sampled_from(["prune", "other"]),
        st.sampled_from([None, 0, 4, 6]), LENGTHS, st.sampled_from([Status.OK, Status.LOST]),
        st.sampled_from([None, {}, {"macs": 4, "val_top1": 0.5}, {"macs": 9, "val_top1": 0.9}]),
        st.lists(st.tuples(st.integers(0, 4), st.floats(-0.5, 1.5), TOP1S), max_size=5),
    ),
    max_size=8,
)  # fmt: skip
STARTS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([None, "a", "b", "nobody"]))


def made(rows: list[tuple]) -> tuple[list[Attempt], ProgressTable]:
    """Attempts one after another, and the progress measured in them."""
    attempts, points, t = [], Points(), 1_760_000_000.0
    for number, (job, phase, route, macs, length_s, status, outcome, ends) in enumerate(rows):
        name = f"{job}#{number}"
        attempts.append(
            Attempt(
                attempt=name, job=job, route=route, phase=phase, target=None, replicate=0, session="s", allocation=None,
                devices={}, device_kind="cuda", meter="none", network_macs=macs, spec={}, begin_t=t, end_t=t + length_s,
                status=status, reason=None, outcome=outcome, allocated_s=length_s, productive_s=length_s, overhead_s=0.0,
                lost_s=0.0, uncertainty_s=0.0, flags=(),
            )
        )  # fmt: skip
        for epoch, share, top1 in ends:
            points.add(name, t + share * length_s, epoch, 5, top1, None, True)
        t += length_s
    return attempts, ProgressTable(points, {attempt.attempt: {} for attempt in attempts})


def one_after_another(attempts: Sequence[Attempt], shares: list[float], progress: ProgressTable, starts: dict) -> Steps:
    """The rules as they are written, attempt by attempt, for one policy."""
    before = [0.0, *accumulate(share * a.allocated_s / 3600 for share, a in zip(shares, attempts, strict=True))]
    trained: dict[str, list[tuple[int, float, int, float]]] = {}
    done, evaluated = set(), {a.job for a in attempts if a.route == "prune" and a.phase == "evaluate"}
    for place, attempt in enumerate(attempts):
        if attempt.route != "prune" or attempt.job in done:
            continue
        rows = trained.setdefault(attempt.job, [])
        length_s = attempt.end_t - attempt.begin_t
        if attempt.phase != "supernet" and attempt.network_macs and attempt.network_macs <= TARGET:
            for point in progress.of(attempt.attempt):
                if point.val_top1 is not None:
                    share = min(max((point.t - attempt.begin_t) / length_s, 0.0), 1.0) if length_s else 1.0
                    rows[:] = [row for row in rows if row[2] < point.epoch]
                    rows.append((place, share, point.epoch, point.val_top1))
        if attempt.status is Status.OK:
            done.add(attempt.job)
            if not rows and attempt.outcome and attempt.outcome["macs"] <= TARGET:
                rows.append((place, 1.0, 0, attempt.outcome["val_top1"]))
    measured = {job: rows for job, rows in trained.items() if rows}
    smooth = {job: isotonic(np.array([row[3] for row in rows])) for job, rows in measured.items()}
    steps = []
    for job, rows in ({j: rows for j, rows in measured.items() if j not in evaluated} or measured).items():
        cost, top1 = before[rows[0][0]], np.nan
        if (start := starts.get(job)) in smooth and (start not in evaluated or measured.keys() <= evaluated):
            top1 = min(smooth[start][-1], smooth[job][0])
        for (place, share, *_), reached in zip(rows, smooth[job], strict=True):
            at = before[place] + share * (before[place + 1] - before[place])
            steps.append((cost, at, top1, reached))
            cost, top1 = at, reached
    return Steps(*(np.array([step[n] for step in steps], dtype=np.float64) for n in range(4)))


def told(steps: Steps) -> list[object]:
    """Every value that is asked of steps."""
    found: list[object] = [float(steps.final())]
    for level in LEVELS:
        moment = steps.moment_near(level, 0.05)
        found += [float(steps.cost_of(level)), float(steps.cost_near(level, 0.05))]
        found.append(None if moment is None else steps.cost_at(moment))
    return [repr(value) for value in [*found, *map(steps.top1_within, COSTS)]]


@given(ATTEMPTS, STARTS, st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=8, max_size=8))
def test_columns_are_one_after_another(rows, starts, shares):
    attempts, progress = made(rows)
    shares, all_of_it = shares[: len(attempts)], [1.0] * len(attempts)
    specs = {job: {} if start is None else {"init_from": start} for job, start in starts.items()}
    found = replay(attempts, {"full": all_of_it, "free": shares}, {"own": shares}, progress, specs, "prune", TARGET)
    for name, rates in (("full", all_of_it), ("free", shares)):
        assert told(found[name].steps) == told(one_after_another(attempts, rates, progress, starts))
    for level in LEVELS:
        moment = found["full"].steps.moment_near(level, 0.05)
        by_hand = one_after_another(attempts, all_of_it, progress, starts).moment_near(level, 0.05)
        if moment is not None:
            own = one_after_another(attempts, shares, progress, starts).cost_at(by_hand)
            assert repr(found["own"].steps.cost_at(moment)) == repr(own)


COST = st.floats(0, 3) | st.sampled_from([0.0, 0.1, 0.2, 0.30000000000000004, 1.0])
RISE = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5])
STEPS = st.lists(st.tuples(COST, COST, RISE | st.just(float("nan")), RISE), max_size=12)


@given(STEPS, COST, RISE)
def test_steps_that_are_behind_decide_nothing(rows, cost, level):
    columns = [np.array([row[n] for row in rows], dtype=np.float64) for n in range(4)]
    steps = Steps(columns[0], columns[0] + columns[1], columns[2], columns[3])
    ahead = steps.ahead()
    left = steps.only(ahead)
    assert told(left) == told(steps)
    assert repr(left.top1_within(cost)) == repr(steps.top1_within(cost))
    assert repr(float(left.cost_of(level))) == repr(float(steps.cost_of(level)))
    moment, of_all = left.moment_near(level, 0.0), steps.moment_near(level, 0.0)
    assert (moment is None) == (of_all is None)
    if moment is not None and of_all is not None:
        assert (int(ahead[moment[0]]), moment[1]) == of_all


def test_of_many_candidates_few_steps_are_left():
    rising = np.linspace(0.1, 0.5, 10)
    ends = np.arange(1.0, 1001.0)
    steps = Steps(ends - 1, ends, np.tile(np.append(np.nan, rising[:-1]), 100), np.tile(rising, 100))
    assert len(steps.ahead()) == 10
