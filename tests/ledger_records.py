"""Short helpers for writing ledgers by hand in tests."""

from __future__ import annotations

import json
from pathlib import Path

from accounting.cost.attempts import derive
from accounting.cost.values import Attempt, CostView
from accounting.ledger.records import Kind, Record, Status

CORES = {"core0": 1.0, "core1": 1.0}


def opened(session: str, t: float, devices: dict[str, float] = CORES, device_kind: str = "cpu_core") -> Record:
    capacity = [
        {"device": device, "device_kind": device_kind, "amount": amount, "name": "a core", "node": "n"}
        for device, amount in devices.items()
    ]
    return {
        "kind": Kind.SESSION_OPENED,
        "t": t,
        "session": session,
        "study": "golden",
        "capacity": capacity,
        "environment": {"python": "3"},
    }


def closed(session: str, t: float, reason: str = "done") -> Record:
    return {"kind": Kind.SESSION_CLOSED, "t": t, "session": session, "reason": reason}


def alloc(session: str, allocation: str, t: float, device: str = "core0", amount: float = 1.0) -> Record:
    return {
        "kind": Kind.ALLOCATION_OPENED,
        "t": t,
        "session": session,
        "allocation": allocation,
        "devices": {device: amount},
    }


def free(session: str, allocation: str, t: float) -> Record:
    return {"kind": Kind.ALLOCATION_CLOSED, "t": t, "session": session, "allocation": allocation}


def start(
    session: str,
    attempt: str,
    job: str,
    t: float,
    *,
    allocation: str | None = None,
    device: str = "core0",
    amount: float = 1.0,
    route: str = "prune",
    phase: str = "pretrain",
    target: int | None = None,
    replicate: int = 0,
    heartbeat_s: float | None = None,
) -> Record:
    record = {
        "kind": Kind.ATTEMPT_STARTED,
        "t": t,
        "session": session,
        "attempt": attempt,
        "job": job,
        "route": route,
        "phase": phase,
        "target": target,
        "replicate": replicate,
        "allocation": allocation,
        "devices": {device: amount},
        "meter": "wall_clock",
        "network_macs": 1000,
        "spec": {"lr": 0.1},
    }
    return record if heartbeat_s is None else record | {"heartbeat_s": heartbeat_s}


def work(attempt: str, t: float, epoch: int = 0) -> Record:
    return {"kind": Kind.WORK_BEGUN, "t": t, "attempt": attempt, "epoch": epoch}


def progress(attempt: str, t: float, epoch: int, *, checkpointed: bool = True, num_epochs: int = 3) -> Record:
    return {
        "kind": Kind.PROGRESS,
        "t": t,
        "attempt": attempt,
        "epoch": epoch,
        "num_epochs": num_epochs,
        "val_top1": min(1.0, 0.1 * epoch),
        "train_loss": 1.0 / epoch,
        "checkpointed": checkpointed,
    }


def beat(attempt: str, t: float) -> Record:
    return {"kind": Kind.HEARTBEAT, "t": t, "attempt": attempt}


def node_beat(t: float, *attempts: str, session: str = "s", node: str = "n") -> Record:
    return {
        "kind": Kind.NODE_BEAT, "t": t, "node": node, "session": session, "attempts": list(attempts),
        "readings": {"GPU-1": [12.5, 0.5, None, 900.0, 70.25]},
    }  # fmt: skip


def ok(attempt: str, t: float, work_end_t: float | None = None) -> Record:
    return {
        "kind": Kind.ATTEMPT_ENDED,
        "t": t,
        "attempt": attempt,
        "status": Status.OK,
        "reason": None,
        "outcome": {"by": attempt},
        "work_end_t": work_end_t,
        "measurement": None,
    }


def failed(attempt: str, t: float, reason: str = "loss is NaN") -> Record:
    return ok(attempt, t) | {"status": Status.FAILED, "reason": reason, "outcome": None}


def abandoned(session: str, job: str, t: float) -> Record:
    return {"kind": Kind.JOB_ABANDONED, "t": t, "session": session, "job": job, "reason": "no attempt left"}


def driver_work(session: str, t: float, duration_s: float) -> Record:
    return {
        "kind": Kind.DRIVER_WORK,
        "t": t,
        "session": session,
        "route": "search",
        "phase": "fit_predictor",
        "target": None,
        "replicate": 0,
        "duration_s": duration_s,
    }


def golden() -> list[Record]:
    """Two sessions on two cores: a kill and its resume, a reused actor, a duplicate completion, an abandoned job."""
    return [
        opened("s1", 0),
        alloc("s1", "A", 5),
        start("s1", "a1", "j1", 7, allocation="A"),
        work("a1", 10),
        progress("a1", 20, 1),
        progress("a1", 30, 2),
        ok("a1", 32, work_end_t=30),
        start("s1", "a2", "j2", 33, allocation="A", route="search", phase="search"),
        work("a2", 34),
        progress("a2", 44, 1),
        failed("a2", 50),
        start("s1", "a3", "j3", 51, allocation="A", route="search", phase="retrain", target=500),
        work("a3", 52),
        progress("a3", 62, 1),
        progress("a3", 72, 2),
        progress("a3", 82, 3, checkpointed=False),
        beat("a3", 90),
        alloc("s1", "B", 6, "core1"),
        start("s1", "b1", "j4", 8, allocation="B", device="core1", phase="evaluate", target=500),
        work("b1", 9),
        ok("b1", 55, work_end_t=54),
        free("s1", "B", 60),
        alloc("s1", "C", 62, "core1"),
        start("s1", "c1", "j5", 64, allocation="C", device="core1", phase="finetune", target=300, heartbeat_s=5.0),
        beat("c1", 100),
        # kill -9 of all processes at 101
        opened("s2", 120),
        alloc("s2", "D", 122),
        start("s2", "d1", "j3", 124, allocation="D", route="search", phase="retrain", target=500),
        work("d1", 126, epoch=2),
        progress("d1", 136, 3),
        ok("d1", 140, work_end_t=138),
        start("s2", "d2", "j2", 142, allocation="D", route="search", phase="search"),
        work("d2", 143, epoch=1),
        ok("d2", 155, work_end_t=153),
        free("s2", "D", 160),
        alloc("s2", "E", 122, "core1"),
        start("s2", "e1", "j5", 124, allocation="E", device="core1", phase="finetune", target=300),
        work("e1", 125),
        progress("e1", 135, 1),
        failed("e1", 140),
        abandoned("s2", "j5", 141),
        start("s2", "e2", "j1", 146, allocation="E", device="core1"),
        work("e2", 147),
        ok("e2", 168, work_end_t=167),
        free("s2", "E", 170),
        driver_work("s2", 180, 4),
        closed("s2", 200),
    ]


def fine_study(folder: Path, study: str, session: str) -> Path:
    """Write one segment as older versions did (format 1, cost rules 1): a session with one attempt."""
    opening = {
        "kind": "segment_opened", "t": 0, "rules": 1, "session": session, "writer": "driver", "host": "h", "pid": 1,
    }  # fmt: skip
    records = [
        opened(session, 0) | {"study": study},
        start(session, f"{session}-a", f"{study}-j", 5),
        work(f"{session}-a", 6),
        ok(f"{session}-a", 20, 19),
        closed(session, 30),
    ]
    path = folder / f"19700101T000000Z-driver-h-1-{session}.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in [opening, *records]))
    return path


def lost(session: str, job: str, t: float, reason: str) -> Record:
    return {"kind": Kind.ATTEMPT_LOST, "t": t, "session": session, "job": job, "reason": reason}


def only(records: list[Record], now: float | None = None) -> Attempt:
    """The only attempt of these records."""
    (attempt,) = derive(records, now).attempts
    return attempt


def by_id(view: CostView) -> dict[str, Attempt]:
    return {attempt.attempt: attempt for attempt in view.attempts}


def split(attempt: Attempt) -> tuple[float, float, float]:
    """Productive, overhead and lost device-seconds."""
    return attempt.productive_s, attempt.overhead_s, attempt.lost_s
