"""Spending read incrementally equals what the whole ledger says, after any sequence of records."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_records import alloc, ok, opened, start
from test_corrupted_ledgers import SAID, clean, put
from test_damaged_ledgers import put as put_in
from test_damaged_ledgers import segment, write

from accounting.cost import so_far as so_far_of
from accounting.cost.attempts import derive
from accounting.cost.evidence import Evidence
from accounting.cost.intervals import Interval
from accounting.cost.shares import counted, spent_s
from accounting.cost.so_far import SpentSoFar
from accounting.ledger.index import segments_in
from accounting.ledger.records import Kind, Record, Status
from accounting.ledger.store import LedgerError, LedgerWriter, read_ledger

T = 1_760_000_000.0


def said(view: Any) -> object:
    """The values of a view that the scheduler uses."""
    held = {a.job: a.allocated_s for a in counted(view) if a.status is Status.RUNNING}
    done = {(job.job, job.route, job.phase, job.target, job.replicate) for job in view.jobs if job.status is Status.OK}
    attempts = [
        (a.begin_t, a.attempt, a.job, a.route, a.phase, a.replicate, a.status, a.allocated_s, a.spec)
        for a in counted(view)
    ]
    return spent_s(view), held, done, attempts, view.device_kind


def assert_alike(folder: Path, so_far: SpentSoFar, now: float) -> None:
    assert said(so_far.read(now)) == said(derive(read_ledger(folder).records, now))


@pytest.mark.parametrize("case", ["none", *SAID])
def test_a_ledger_of_any_kind(tmp_path: Path, case: str) -> None:
    ledger = clean()
    if case != "none":
        SAID[case][0](ledger)
    put(tmp_path, ledger)
    so_far = SpentSoFar(tmp_path)
    assert_alike(tmp_path, so_far, 200.0)
    assert_alike(tmp_path, so_far, 300.0)


Event = tuple[str, str, int, float, float]
JOBS, WRITERS = st.sampled_from("pq"), st.sampled_from([0, 0, 0, 1, 2])
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "open", "start", "start", "start", "beat", "progress", "ok", "ok", "ok", "failed", "close", "close",
             "close", "died", "lost", "abandoned", "capacity", "next session", "read", "read", "open again",
             "run", "run", "run", "run"]
        ),
        JOBS, WRITERS, st.floats(-20, 400), st.sampled_from([0.1, 0.25, 1.0, 3.7]),
    ),
    min_size=12,
    max_size=40,
)  # fmt: skip


RUN = ("open", "start", "beat", "ok", "close")


def whole_runs(events: list[Event]) -> list[Event]:
    """Expand each "run" event into the full events of an attempt, from opening to closing."""
    return [
        (one, *rest)
        for what, *rest in events
        for one in (RUN if what == "run" else (what,))  # type: ignore[misc]
    ]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
def test_any_sequence_of_records(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    so_far, t, number, session, last, spans = (
        SpentSoFar(folder),
        T,
        0,
        "s0",
        dict[tuple[str, int], str](),
        dict[int, str](),
    )
    with ExitStack() as stack:
        writers = [stack.enter_context(LedgerWriter(folder, "s0", f"w{n}", clock=lambda: T)) for n in range(3)]

        def opened(session: str, device: str, t: float) -> None:
            kind = "cuda" if "GPU" in device else "cpu_core"
            capacity = [{"device": device, "device_kind": kind, "amount": 1.0, "name": "x", "node": "n"}]
            writers[0].append(Kind.SESSION_OPENED, t=t, session=session, study="x", capacity=capacity, environment={})

        opened(session, "core0", t)
        for what, job, place, passed_s, amount in whole_runs(events):
            t += passed_s
            write, key = writers[place].append, (job, place)
            mine = last.get(key, "nobody#0")
            if what == "open":
                number += 1
                spans[place] = f"span-{number}"
            span = spans.get(place)
            if what in ("open", "open again") and span:
                writers[0].append(
                    Kind.ALLOCATION_OPENED, t=t, session=session, allocation=span, devices={"core0": amount}
                )
            elif what == "start":
                number += 1
                last[key] = f"{job}#{number}"
                write(
                    Kind.ATTEMPT_STARTED, t=t, session=session, attempt=last[key], job=job, route=f"route-{place}",
                    phase="export" if amount == 3.7 else "search", target=None, replicate=place, allocation=span,
                    devices={"GPU-1" if amount == 0.1 else "core0": amount}, meter="wall_clock", network_macs=1,
                    spec={"job": job},
                )  # fmt: skip
            elif what == "beat":
                write(Kind.HEARTBEAT, t=t, attempt=mine)
            elif what == "progress" and mine != "nobody#0":
                write(
                    Kind.PROGRESS, t=t, attempt=mine, epoch=1, num_epochs=2, val_top1=None, train_loss=None,
                    checkpointed=True,
                )  # fmt: skip
            elif what in ("ok", "failed") and mine != "nobody#0":
                write(
                    Kind.ATTEMPT_ENDED, t=t, attempt=mine, status=what, reason=None, outcome=None, work_end_t=None,
                    measurement=None,
                )  # fmt: skip
                if passed_s < 300:
                    del last[key]
            elif what in ("close", "died") and span:
                cause = {"cause": "node_died"} if what == "died" else {}
                writers[0].append(Kind.ALLOCATION_CLOSED, t=t, session=session, allocation=span, **cause)
                if passed_s > 0:  # an allocation is sometimes used again after it closed
                    del spans[place]
            elif what == "lost":
                writers[0].append(Kind.ATTEMPT_LOST, t=t, session=session, job=job, reason="x")
            elif what == "abandoned":
                writers[0].append(Kind.JOB_ABANDONED, t=t, session=session, job=job, reason="x")
            elif what == "capacity":
                capacity = [{"device": "GPU-1", "device_kind": "cuda", "amount": amount, "name": "x", "node": "n"}]
                writers[0].append(Kind.CAPACITY_CHANGED, t=t, session=session, capacity=capacity)
            elif what == "next session":
                session = f"s{number}-{t}"
                opened(session, "GPU-1" if amount == 0.1 else "core0", t)
            elif what == "read":
                assert_alike(folder, so_far, t)
        assert_alike(folder, so_far, t)
        assert_alike(folder, so_far, t + 50)


def test_an_attempt_whose_allocation_has_closed_is_derived_once(tmp_path: Path) -> None:
    put(tmp_path, clean())
    so_far = SpentSoFar(tmp_path)
    so_far.read(200.0)
    assert so_far._live == {}
    assert said(so_far.read(300.0)) == said(derive(read_ledger(tmp_path).records, 300.0))


def test_only_what_new_records_concern_is_derived_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts run at the same time; one of them ends, and nothing new is recorded about the other two."""
    asked: list[set[str]] = []
    plain = so_far_of.intervals_of

    def noted(evidence: Evidence, now: float) -> dict[str, Interval]:
        asked.append(set(evidence.traces))
        return plain(evidence, now)

    monkeypatch.setattr(so_far_of, "intervals_of", noted)
    so_far = SpentSoFar(tmp_path)
    with LedgerWriter(tmp_path, "s", "driver", clock=lambda: T) as driver:
        put_all(driver, opened("s", T))
        for n in range(3):
            put_all(
                driver,
                alloc("s", f"span-{n}", T + n),
                start("s", f"a{n}#0", f"a{n}", T + n + 1, allocation=f"span-{n}"),
            )
        assert_alike(tmp_path, so_far, T + 20)
        put_all(driver, ok("a1#0", T + 30, T + 29))
        asked.clear()
        assert_alike(tmp_path, so_far, T + 40)
        assert_alike(tmp_path, so_far, T + 50)
    assert asked == [{"a1#0"}]


def put_all(writer: LedgerWriter, *records: Record) -> None:
    for record in records:
        put_in(writer, record)


def test_what_has_been_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "s1", 1000, ("p", "q"), ends=False)
    so_far = SpentSoFar(tmp_path)
    so_far.read(2000.0)
    before = said(so_far.read(2000.0))
    sizes = []
    original = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *words: sizes.append(path.name) or original(path, *words))
    assert said(so_far.read(2000.0)) == before
    assert not [name for name in sizes if name.endswith(".jsonl")]


def test_a_worker_s_segment_is_asked_for_its_size_once_in_a_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    so_far, asked = SpentSoFar(tmp_path), list[str]()
    with ExitStack() as stack:
        names = ["driver", *["worker"] * 5]
        paths = [stack.enter_context(LedgerWriter(tmp_path, "s", name, clock=lambda: T)).path.name for name in names]
        so_far.read(T)
        original = os.stat
        monkeypatch.setattr(os, "stat", lambda path, **words: asked.append(Path(path).name) or original(path, **words))
        so_far.read(T)
    assert sorted(name for name in asked if name.endswith(".jsonl")) == sorted(paths)


def test_what_a_sampler_names_is_read_no_sooner_than_the_start_that_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt begins and is named by the sampler between the look at the worker's segment and the reading."""
    so_far = SpentSoFar(tmp_path)
    with ExitStack() as stack:
        driver, sampler, worker = (
            stack.enter_context(LedgerWriter(tmp_path, "s", name, clock=lambda: T))
            for name in ("driver", "sampler", "worker")
        )
        put_all(driver, opened("s", T))
        so_far.read(T)
        plain = so_far._tail._sizes

        def then_it_begins() -> dict[str, int] | None:
            sizes = plain()
            put_all(worker, start("s", "a#0", "a", T))
            sampler.append(Kind.NODE_BEAT, t=T, node="n", session="s", attempts=["a#0"], readings={})
            return sizes

        put_all(driver, alloc("s", "span", T))
        sampler.append(Kind.NODE_BEAT, t=T, node="n", session="s", attempts=[], readings={})
        monkeypatch.setattr(so_far._tail, "_sizes", then_it_begins)
        so_far.read(T)
        monkeypatch.setattr(so_far._tail, "_sizes", plain)
        assert_alike(tmp_path, so_far, T + 5)
        assert not so_far._is_odd


@pytest.mark.parametrize("harm", ["cut", "removed", "torn", "garbled"])
def test_a_ledger_that_was_harmed_meanwhile_is_read_as_a_whole(tmp_path: Path, harm: str) -> None:
    write(tmp_path, "s1", 1000, ("p", "q"), ends=False)
    so_far = SpentSoFar(tmp_path)
    so_far.read(2000.0)
    path = segment(tmp_path, "worker-0", session=0)
    content = path.read_bytes()
    if harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "removed":
        path.unlink()
    elif harm == "torn":
        path.write_bytes(content + b'{"kind":"hea')
    else:
        path.write_bytes(content + b"%%%\n" + content.split(b"\n")[1] + b"\n")
        with pytest.raises(LedgerError):
            so_far.read(2000.0)
        return
    assert_alike(tmp_path, so_far, 2000.0)


def test_a_segment_of_an_older_format_is_read_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, "s1", 1000, ("p",), ends=False)
    old = '{"kind":"segment_opened","t":1.0,"rules":2,"session":"s0","writer":"w","host":"h","pid":1}\n'
    (tmp_path / "a.jsonl").write_text(old, encoding="utf-8")
    assert_alike(tmp_path, SpentSoFar(tmp_path), 2000.0)
    assert len(segments_in(tmp_path)) > 1
