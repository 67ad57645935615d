"""Seconds to read, derive and audit a ledger of N attempts with ten progress lines each.

usage: python benchmarks/ledger_read.py [N] [--row]

N is 2000 by default; for a larger ledger, run ``python benchmarks/ledger_read.py 100000``. Each attempt takes about 3
kB of temporary disk space. The ledger is made in a temporary folder without fsync: one driver and eight workers, with a
segment each. It checks that the audit finds nothing and that every attempt is there. With ``--row``, the result is
appended to benchmarks/results/ledger_read.jsonl; do that on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_lean

RESULTS = Path(__file__).with_name("results") / "ledger_read.jsonl"
NUM_WORKERS = 8
NUM_EPOCHS = 10
LENGTH_S = 100.0
"""Length of an attempt; it begins to work after 1 s and completes an epoch every 9 s."""
SPEC = {"lr": 0.1, "epochs": NUM_EPOCHS, "recipe": {"optimizer": "sgd", "batch_size": 128, "weight_decay": 1e-4}}


def write(folder: Path, num_attempts: int) -> None:
    """Write the ledger: each worker runs its attempts one after another, each in its own allocation."""
    end_t = LENGTH_S * -(-num_attempts // NUM_WORKERS)
    capacity = [
        {"device": f"core{n}", "device_kind": "cpu_core", "amount": 1.0, "name": "a core", "node": "n"}
        for n in range(NUM_WORKERS)
    ]
    with ExitStack() as stack:
        driver = stack.enter_context(LedgerWriter(folder, "s", "driver", clock=lambda: 0.0))
        workers = [
            stack.enter_context(LedgerWriter(folder, "s", f"worker-{n}", clock=lambda: 0.0)) for n in range(NUM_WORKERS)
        ]
        driver.append(Kind.SESSION_OPENED, t=0.0, session="s", study="benchmark", capacity=capacity, environment={})
        for number in range(num_attempts):
            turn, place = divmod(number, NUM_WORKERS)
            begin_t, held = turn * LENGTH_S, {f"core{place}": 1.0}
            allocation = f"a{number}"
            driver.append(Kind.ALLOCATION_OPENED, t=begin_t, session="s", allocation=allocation, devices=held)
            write_attempt(workers[place], number, begin_t, allocation, held)
            driver.append(Kind.ALLOCATION_CLOSED, t=begin_t + LENGTH_S, session="s", allocation=allocation)
        driver.append(Kind.SESSION_CLOSED, t=end_t, session="s", reason="done")


def write_attempt(ledger: LedgerWriter, number: int, begin_t: float, allocation: str, held: dict[str, float]) -> None:
    """Write one successful attempt."""
    attempt, job = f"job-{number}#0", f"job-{number}"
    common: dict[str, Any] = {"route": "search", "phase": "search", "target": None, "replicate": 0}
    ledger.append(
        Kind.ATTEMPT_STARTED, t=begin_t, session="s", attempt=attempt, job=job, **common, allocation=allocation,
        devices=held, meter="wall_clock", network_macs=1_000_000, spec=SPEC,
    )  # fmt: skip
    ledger.append(Kind.WORK_BEGUN, t=begin_t + 1, attempt=attempt, epoch=0)
    for epoch in range(1, NUM_EPOCHS + 1):
        ledger.append(
            Kind.PROGRESS, t=begin_t + 1 + 9 * epoch, attempt=attempt, epoch=epoch, num_epochs=NUM_EPOCHS,
            val_top1=0.05 * epoch, train_loss=1 / epoch, checkpointed=True,
        )  # fmt: skip
    ledger.append(
        Kind.ATTEMPT_ENDED, t=begin_t + LENGTH_S, attempt=attempt, status="ok", reason=None,
        outcome={"val_top1": 0.5, "macs": 1_000_000}, work_end_t=begin_t + 95, measurement=None,
    )  # fmt: skip


def measure(folder: Path) -> dict[str, float]:
    """Seconds to read, derive and audit the ledger, and its size; exits if the audit finds anything."""
    begin = time.perf_counter()
    ledger = read_lean(folder)
    read = time.perf_counter()
    view = derive(ledger.records, points=ledger.points)
    derived = time.perf_counter()
    report = audit(ledger.records, ledger.findings, ledger.points)
    audited = time.perf_counter()
    if report.findings:
        raise SystemExit(f"the ledger should be clean: {report.findings[0].message}")
    return {
        "num_attempts": len(view.attempts),
        "num_records": len(ledger.records) + len(view.progress),
        "read_s": read - begin,
        "derive_s": derived - read,
        "audit_s": audited - derived,
    }


def main() -> None:
    """Make a ledger, time its reading, print the result, and append it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("num_attempts", type=int, nargs="?", default=2000, metavar="N")
    parser.add_argument("--row", action="store_true", help="append the result to benchmarks/results/ledger_read.jsonl")
    options = parser.parse_args()
    if options.num_attempts < 1:
        parser.error(f"N {options.num_attempts} given; allowed: 1 and more")
    os.fsync = lambda fd: None  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.num_attempts)
        size_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        row = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
               "python": platform.python_version(), "size_mb": round(size_mb, 2), **measure(Path(folder))}  # fmt: skip
    if row["num_attempts"] != options.num_attempts:
        raise SystemExit(f"{options.num_attempts} attempts were written, {row['num_attempts']} read")
    line = json.dumps({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})
    print(line)
    if options.row:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
