"""Kill a study's driver with SIGKILL at several moments, run it again each time, and check what must hold afterwards.

usage: python benchmarks/kill_and_resume.py CONFIG OUT UNDISTURBED [MOMENT ...]

UNDISTURBED is the folder of the same study run without a kill. A moment is a number of seconds, or JOB@EPOCH: half a
second after a job with JOB in its name has done EPOCH epochs, while it is still running. It checks that the study
finishes; that every job has exactly one outcome and is the one that the undisturbed study proposed (network, recipe,
seed); that every attempt is in the ledger once, with a cost; that ``audit`` exits 0; and how many delivered networks
equal the undisturbed ones bit for bit. Appends a row to benchmarks/results/kill_and_resume.jsonl; exits 1 if a check
fails.
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

from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger

RESULTS = Path(__file__).with_name("results") / "kill_and_resume.jsonl"


def run_and_kill(command: list[str], ledger: Path, moment: str) -> str | None:
    """Run the study and kill it at the moment; returns the jobs then in progress, or None if it had ended before."""
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if "@" in moment:
            while not _reached(ledger, *moment.split("@")):
                if driver.poll() is not None:
                    return None
                time.sleep(0.2)
            driver.wait(0.5)
        else:
            driver.wait(float(moment))
    except subprocess.TimeoutExpired:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        return ", ".join(sorted(_under_way(ledger)))
    return None


def _under_way(ledger: Path) -> dict[str, int]:
    """Epochs done so far, by job, of the last session's attempts that have not ended."""
    records = read_ledger(ledger).records if ledger.exists() else ()
    started = {r["attempt"]: r["job"] for r in records if r["kind"] == Kind.ATTEMPT_STARTED}
    over = {r["attempt"] for r in records if r["kind"] == Kind.ATTEMPT_ENDED}
    last_session = [r["session"] for r in records if r["kind"] == Kind.SESSION_OPENED][-1:]
    over |= {r["attempt"] for r in records if r["kind"] == Kind.ATTEMPT_STARTED and r["session"] not in last_session}
    epochs = {job: 0 for attempt, job in started.items() if attempt not in over}
    epochs |= {
        started[r["attempt"]]: r["epoch"] for r in records if r["kind"] == Kind.PROGRESS and r["attempt"] not in over
    }
    return epochs


def _reached(ledger: Path, job: str, epoch: str) -> bool:
    return any(job in name and done >= int(epoch) for name, done in _under_way(ledger).items())


def _proposals(ledger: Path) -> dict[str, str]:
    """What each job was asked to do, as JSON."""
    records = read_ledger(ledger).records
    return {r["job"]: json.dumps(r["spec"], sort_keys=True) for r in records if r["kind"] == Kind.ATTEMPT_STARTED}


def check(out: Path, undisturbed: Path) -> dict[str, object]:
    """Facts about the resumed study; numbers that must be equal are next to each other."""
    ledger = read_ledger(out / "ledger")
    view = derive(ledger.records)
    starts = Counter(r["attempt"] for r in ledger.records if r["kind"] == Kind.ATTEMPT_STARTED)
    oks = Counter(a.job for a in view.attempts if a.status == "ok")
    models = sorted(p.relative_to(undisturbed) for p in (undisturbed / "models").rglob("model.safetensors"))
    planned, proposed = _proposals(undisturbed / "ledger"), _proposals(out / "ledger")
    equal = [m for m in models if (out / m).exists() and (out / m).read_bytes() == (undisturbed / m).read_bytes()]
    audit = subprocess.run([sys.executable, "-m", "harness.cli", "audit", str(out)], capture_output=True, check=False)
    return {
        "num_sessions": len(view.sessions),
        "num_jobs": len(view.jobs),
        "jobs_as_undisturbed": sum(proposed.get(job) == spec for job, spec in planned.items()),
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
    """Kill the study at each moment, run it to the end, check it, and append a row."""
    config, out, undisturbed = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    moments = sys.argv[4:] or ["60", "90", "120"]
    command = [sys.executable, "-m", "harness.cli", "run", config, "--out", str(out)]
    killed = []
    for moment in moments:
        killed.append(run_and_kill(command, out / "ledger", moment))
        time.sleep(1)
    last = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    facts = {"moments": moments, "killed_during": killed, "last_exit_code": last, **check(out, undisturbed)}
    row = {"t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "config": config, **facts}
    row |= {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores"}
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))
    good = (
        last == 0
        and None not in killed
        and facts["networks_equal_to_the_bit"] == facts["num_networks"]
        and facts["audit_exit_code"] == 0
        and facts["jobs_with_one_outcome"] == facts["jobs_as_undisturbed"] == facts["num_jobs"]
        and facts["attempts_recorded_once"] == facts["attempts_with_cost"] == facts["num_attempts"]
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
