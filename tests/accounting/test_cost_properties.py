"""Device time is conserved whatever happens: properties of simulated clusters and of arbitrary records."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_records import (
    CORES,
    abandoned,
    alloc,
    beat,
    closed,
    failed,
    free,
    ok,
    opened,
    progress,
    start,
    work,
)

from accounting.audit.audit import audit
from accounting.cost.attempts import CostView, derive
from accounting.cost.charges import ChargePolicy, charged_s
from accounting.ledger.records import Record, Status


class Cluster:
    """Two cores that run random attempts, in sessions that close or are killed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.records: list[Record] = []
        self.ids = itertools.count()
        self.checkpoint: dict[str, int] = defaultdict(int)

    def run(self, num_sessions: int) -> list[Record]:
        t = 0.0
        for number in range(num_sessions):
            t = self.session(f"s{number}", t, is_killed=self.rng.random() < 0.5) + self.rng.uniform(5, 50)
        return self.records

    def session(self, name: str, t: float, *, is_killed: bool) -> float:
        session = [opened(name, t)]
        end = t + self.rng.uniform(50, 300)
        for core in CORES:
            at = t
            while at < end:
                at += self.rng.uniform(0, 10)
                allocation, at = self.allocation(name, core, at)
                session += allocation
        if is_killed:
            self.records += [record for record in session if record["t"] <= end]
            return end
        last = max(record["t"] for record in session)
        self.records += [*session, closed(name, last + self.rng.uniform(0, 5), "interrupted")]
        return last + 5

    def allocation(self, session: str, core: str, t: float) -> tuple[list[Record], float]:
        name = f"p{next(self.ids)}"
        records = [alloc(session, name, t, core, self.rng.choice([0.5, 1.0]))]
        for _ in range(self.rng.randint(0, 3)):
            attempt, t = self.attempt(session, name, core, t)
            records += attempt
        t += self.rng.uniform(0, 5)
        return [*records, free(session, name, t)], t

    def attempt(self, session: str, allocation: str, core: str, t: float) -> tuple[list[Record], float]:
        rng, name, job = self.rng, f"a{next(self.ids)}", f"j{self.rng.randint(0, 6)}"
        target = None if int(job[1:]) < 2 else int(job[1:])
        t += rng.uniform(0, 3)
        records = [start(session, name, job, t, allocation=allocation, device=core, target=target)]
        if rng.random() < 0.15:
            t += rng.uniform(0, 5)
            return [*records, failed(name, t)], t
        t += rng.uniform(0, 3)
        epoch = self.checkpoint[job]
        records.append(work(name, t, epoch))
        for _ in range(rng.randint(0, 4)):
            t += rng.uniform(0, 8)
            epoch += 1
            is_kept = rng.random() < 0.7
            records += [beat(name, t), progress(name, t, epoch, checkpointed=is_kept, num_epochs=10**6)]
            self.checkpoint[job] = epoch if is_kept else self.checkpoint[job]
        end = t + rng.uniform(0, 3)
        ending = rng.choice(["ok", "failed", "silent", "abandoned"])
        if ending == "ok":
            records.append(ok(name, end, work_end_t=t))
        elif ending != "silent":
            records.append(failed(name, end))
        if ending == "abandoned":
            records.append(abandoned(session, job, end))
        return records, end


def assert_conserved(view: CostView) -> None:
    for attempt in view.attempts:
        parts = attempt.productive_s, attempt.overhead_s, attempt.lost_s
        assert min(parts) >= -1e-6
        assert sum(parts) == pytest.approx(attempt.allocated_s, abs=1e-6)
        assert attempt.end_t >= attempt.begin_t
        assert attempt.uncertainty_s >= 0
    known = {attempt.attempt: attempt for attempt in view.attempts}
    assert sorted(name for job in view.jobs for name in job.attempts) == sorted(known)
    for job in view.jobs:
        kept = [known[name] for name in job.attempts if "repeated" not in known[name].flags]
        assert sum(attempt.status is Status.OK for attempt in kept) == (job.status is Status.OK)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**9), num_sessions=st.integers(1, 3))
def test_a_cluster_balances(seed: int, num_sessions: int) -> None:
    records = Cluster(seed).run(num_sessions)
    view, report = derive(records), audit(records)
    assert_conserved(view)
    assert [f for f in report.findings if f.severity == "error"] == []
    for balance in report.balances:
        assert balance.imbalance <= 1e-9
        split = balance.productive_s + balance.overhead_s + balance.lost_s
        assert split == pytest.approx(balance.allocated_s)
    # What the attempts do not account for was held without an attempt.
    attempts_s = sum(attempt.allocated_s for attempt in view.attempts)
    assert attempts_s + sum(b.unattributed_s for b in report.balances) == pytest.approx(
        sum(b.allocated_s for b in report.balances)
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_amortised_charges_add_up_to_what_was_spent(seed: int) -> None:
    view = derive(Cluster(seed).run(2))
    targets = range(2, 7)
    charged = sum(
        sum(
            charged_s(
                view, route="prune", target=t, replicate=0, policy=ChargePolicy.AMORTISED, num_targets=len(targets)
            ).values()
        )
        for t in targets
    )
    assert charged == pytest.approx(sum(attempt.allocated_s for attempt in view.attempts))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9), share=st.floats(0, 1))
def test_cost_so_far_never_shrinks(seed: int, share: float) -> None:
    """A ledger that is cut at any moment (as for a live status) never claims more than the whole ledger does later."""
    records = sorted(Cluster(seed).run(2), key=lambda record: float(record["t"]))
    cut = records[: round(share * len(records))]
    so_far = {attempt.attempt: attempt for attempt in derive(cut).attempts}
    for attempt in derive(records).attempts:
        if attempt.attempt in so_far and so_far[attempt.attempt].status is not Status.RUNNING:
            assert so_far[attempt.attempt].allocated_s <= attempt.allocated_s + 1e-6


TIMES = st.integers(0, 100).map(float)
NAMES = st.sampled_from(["x", "y", "z"])
ANY_RECORD = st.one_of(
    st.builds(opened, NAMES, TIMES),
    st.builds(closed, NAMES, TIMES, st.sampled_from(["done", "failed"])),
    st.builds(alloc, NAMES, NAMES, TIMES, st.sampled_from(["core0", "GPU-0"]), st.sampled_from([0.0, 0.5, 1.0])),
    st.builds(free, NAMES, NAMES, TIMES),
    st.builds(start, NAMES, NAMES, NAMES, TIMES, allocation=st.none() | NAMES),
    st.builds(work, NAMES, TIMES, st.integers(0, 3)),
    st.builds(progress, NAMES, TIMES, st.integers(1, 4), checkpointed=st.booleans()),
    st.builds(beat, NAMES, TIMES),
    st.builds(ok, NAMES, TIMES, st.none() | TIMES),
    st.builds(failed, NAMES, TIMES),
    st.builds(abandoned, NAMES, NAMES, TIMES),
)


@settings(max_examples=300, deadline=None)
@given(records=st.lists(ANY_RECORD, max_size=30), now=st.none() | TIMES)
def test_no_sequence_of_records_breaks_the_derivation(records: list[Record], now: float | None) -> None:
    assert_conserved(derive(records, now))
    audit(records)
