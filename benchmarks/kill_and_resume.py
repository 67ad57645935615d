"""Kills a study's driver with SIGKILL at three moments, runs it again each time, and checks what must hold afterwards.

usage: python benchmarks/kill_and_resume.py CONFIG OUT UNDISTURBED [SECONDS SECONDS SECONDS]

UNDISTURBED is the folder of the same study run without a kill. Checked: the study finishes; every job has exactly one
outcome; every attempt stands in the ledger once, with a cost; ``audit`` exits 0; how many delivered networks equal the
undisturbed ones to the bit. Appends a row to benchmarks/results/kill_and_resume.jsonl; exit 1 where a check fails.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from accounting.attempts import derive
from accounting.ledger import read_ledger
from accounting.records import Kind

RESULTS = Path(__file__).with_name("results") / "kill_and_resume.jsonl"


def run_and_kill(command: list[str], after_s: float) -> bool:
    """Whether the driver was still running when it was killed."""
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        driver.wait(after_s)
    except subprocess.TimeoutExpired:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        return True
    return False


def check(out: Path, undisturbed: Path) -> dict[str, object]:
    """The facts, each with what it must be beside it where it must be something."""
    ledger = read_ledger(out / "ledger")
    view = derive(ledger.records)
    starts = Counter(r["attempt"] for r in ledger.records if r["kind"] == Kind.ATTEMPT_STARTED)
    oks = Counter(a.job for a in view.attempts if a.status == "ok")
    models = sorted(p.relative_to(undisturbed) for p in (undisturbed / "models").rglob("model.safetensors"))
    equal = [m for m in models if (out / m).exists() and (out / m).read_bytes() == (undisturbed / m).read_bytes()]
    audit = subprocess.run([sys.executable, "-m", "harness.cli", "audit", str(out)], capture_output=True, check=False)
    return {
        "num_sessions": len(view.sessions),
        "num_jobs": len(view.jobs),
        "jobs_with_one_outcome": sum(oks[job.job] == 1 for job in view.jobs),
        "num_attempts": len(view.attempts),
        "attempts_recorded_once": sum(n == 1 for n in starts.values()),
        "attempts_with_cost": sum(a.allocated_s > 0 for a in view.attempts),
        "attempts_lost": sum(a.status == "lost" for a in view.attempts),
        "lost_device_s": round(sum(a.lost_s for a in view.attempts), 1),
        "audit_exit_code": audit.returncode,
        "num_networks": len(models),
        "networks_equal_to_the_bit": len(equal),
    }


def main() -> None:
    """Run, kill, run again, check, note."""
    config, out, undisturbed = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    moments = [float(s) for s in sys.argv[4:]] or [60.0, 90.0, 120.0]
    command = [sys.executable, "-m", "harness.cli", "run", config, "--out", str(out)]
    killed = []
    for after_s in moments:
        killed.append(run_and_kill(command, after_s))
        time.sleep(1)
    last = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    facts = {"moments_s": moments, "killed": killed, "last_exit_code": last, **check(out, undisturbed)}
    row = {"t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "config": config, **facts}
    row |= {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores"}
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))
    good = (
        last == 0
        and all(killed)
        and facts["networks_equal_to_the_bit"] == facts["num_networks"]
        and facts["audit_exit_code"] == 0
        and facts["jobs_with_one_outcome"] == facts["num_jobs"]
        and facts["attempts_recorded_once"] == facts["attempts_with_cost"] == facts["num_attempts"]
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
