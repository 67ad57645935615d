"""Seconds and memory of the commands that read a study, for ledgers of any size (made by ``ledgers.py``).

    python -m benchmarks.ledger_scale --attempts 1000 10000 100000 --replicates 3 --heartbeats 0 [--row]

For each size, a study is written to a temporary folder (about 4 kB of disk space per attempt with ten progress lines,
and 0.13 kB per heartbeat). Then each command runs in a process of its own, from the JSON lines: ``answer`` twice, cold
and from its cache, ``audit``, ``status``, ``cost`` and ``report``. Then the ledger is compacted, as at the end of a
session, and all commands run again from that (``…_compacted``). *append* is the writing itself, without fsync. It
checks that the audit finds nothing and that a command says the same each time. *parse* is the yardstick: one process
that does nothing but ``json.loads`` on every line, so rows of slow and fast machines can be compared. With ``--row``, a
line per size is appended to benchmarks/results/ledger_scale.jsonl; do that on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from accounting.ledger.compacted import compact
from accounting.study.folder import StudyFolder
from benchmarks.ledgers import Size, write_study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results") / "ledger_scale.jsonl"
COMMANDS = ("answer", "answer", "audit", "status", "cost", "report")
AGAIN = ("answer", "audit", "status", "cost", "report")
NAMES = ("answer_cold", "answer_warm", "audit", "status", "cost", "report")


def measured(command: str, study: Path) -> tuple[str, float, float, float]:
    """What a command prints, its wall-clock and processor seconds, and its peak memory in MB."""
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter()
        words = [sys.executable, "-m", "harness.entry", command, str(study)]
        process = subprocess.Popen(words, cwd=ROOT, stdout=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - begin
        if process.returncode != 0:
            raise SystemExit(f"{command} ended with {process.returncode}")
        said.seek(0)
        return said.read().decode(), wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def parsed_s(ledger: Path) -> float:
    """Seconds to parse every line of a ledger, one at a time."""
    begin = time.perf_counter()
    for path in ledger.glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            json.loads(line)
    return time.perf_counter() - begin


def row_of(size: Size) -> dict[str, object]:
    """Write a study of this size and measure each command, before and after compaction."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        begin = time.perf_counter()
        write_study(study, size)
        row: dict[str, object] = {
            "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "python": platform.python_version(), **vars(size), "append_s": round(time.perf_counter() - begin, 2),
            "size_mb": round(sum(path.stat().st_size for path in (study / "ledger").iterdir()) / 1e6, 1),
        }  # fmt: skip
        row["parse_s"] = round(parsed_s(study / "ledger"), 2)
        said = {}
        for name, command in zip(NAMES, COMMANDS, strict=True):
            said[name], wall_s, cpu_s, peak_mb = measured(command, study)
            row |= {f"{name}_s": round(wall_s, 2), f"{name}_cpu_s": round(cpu_s, 2), f"{name}_mb": round(peak_mb)}
        kept = StudyFolder(study)
        shutil.rmtree(kept.remembered, ignore_errors=True)
        begin = time.perf_counter()
        compact(kept.ledger, kept.compacted)
        row["compact_s"] = round(time.perf_counter() - begin, 2)
        for command in AGAIN:
            again, wall_s, cpu_s, peak_mb = measured(command, study)
            name = f"{command}_compacted"
            row |= {f"{name}_s": round(wall_s, 2), f"{name}_cpu_s": round(cpu_s, 2), f"{name}_mb": round(peak_mb)}
            if again != said["answer_cold" if command == "answer" else command]:
                raise SystemExit(f"{command} of the compacted ledger says something else")
    if said["answer_cold"] != said["answer_warm"]:
        raise SystemExit("the kept answer is another one")
    if not said["audit"].endswith("the ledger adds up\n"):
        raise SystemExit("the ledger should be clean")
    return row


def main() -> None:
    """Measure each size, print its row, and append it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, nargs="+", default=[1000, 10_000], metavar="N")
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--heartbeats", type=int, default=0, help="of each attempt")
    parser.add_argument(
        "--row", action="store_true", help="append the results to benchmarks/results/ledger_scale.jsonl"
    )
    options = parser.parse_args()
    for attempts in options.attempts:
        line = json.dumps(row_of(Size(attempts, heartbeats=options.heartbeats, replicates=options.replicates)))
        print(line, flush=True)
        if options.row:
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
