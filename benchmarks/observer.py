"""What a study's ledger says was allocated, beside what an independent observer saw of the same study.

usage: python benchmarks/observer.py [STUDY.yaml] [--set KEY=VALUE ...] [--kill worker|driver] [--keep FOLDER] [--row]

Runs a study with ``prune-or-search run``, by default the quickstart cut down to a few minutes, and beside it
``watch_ray.py``, which uses nothing of this project: every 50 ms it asks the study's own Ray for its table of placement
groups, and looks in /proc for Ray's workers. ``--kill`` kills a worker or the driver ``--after`` some seconds of work; the
study is then run again until it is finished.

What the observer says: a placement group is held from the moment at which the table has it as created to that at which it
has not (each is the middle between two looks), or, if the head died before, to the last moment at which one of its workers
was alive. Device-seconds are the group's GPUs, or its CPUs if it has none, times seconds. Of the attempts in one group, one
ends when the worker's title says that its call is over, and the next begins there, as in the ledger's rules; attempts
between which no change of title was seen are compared together.

What is compared: the total (attempts and start-ups), each placement group, and each attempt. The rule: the ledger's
device-seconds are within the larger of 1 % and ``uncertainty_s``, which the ledger records; it includes the driver's
interval between two looks at a placement group. Beside it stands the observer's own resolution, which is not in the
ledger. Exits 1 if the total breaks the rule, or if something breaks it by more than that.
``--row`` appends a row to benchmarks/results/observer.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from table import machine

from accounting.cost.attempts import derive
from accounting.cost.values import Attempt, StartUp
from accounting.ledger.records import Kind, Record, Status
from accounting.ledger.store import read_ledger

RESULTS = Path(__file__).with_name("results") / "observer.jsonl"
WATCH = Path(__file__).with_name("watch_ray.py")
QUICKSTART = Path(__file__).parents[1] / "studies" / "quickstart_v1.yaml"
FEW = (
    "replicates=1", "parent.pretrain.epochs=3", "routes.search.strategy.num_trials=6",
    "routes.search.strategy.options.first_batch=3", "routes.search.retrain.epochs=3", "routes.prune.finetune.epochs=2",
    "routes.scratch.train.epochs=3",
)  # fmt: skip
"""What is set in the quickstart if neither a study nor settings are given."""
SHARE = 0.01
LOOK_S = 0.05
TITLE_S = 0.05
"""The observer's resolution of an end that it sees in a title."""
NEAR_S = 1.0
"""Beyond this, an end seen in a title is not taken for the ledger's, if there are fewer of them than attempts."""
AT_WORK = ".train"
"""What Ray adds to the title of a worker while it runs a trial."""


@dataclass(frozen=True)
class Held:
    """A placement group as the observer saw it: from when to when, and how far each of the two may be off (seconds)."""

    begin_t: float
    end_t: float
    amount: float
    begin_off_s: float
    end_off_s: float

    @property
    def held_s(self) -> float:
        """Device-seconds."""
        return self.amount * (self.end_t - self.begin_t)


@dataclass(frozen=True)
class Compared:
    """Device-seconds of one thing by the ledger and by the observer; ``observer_s`` is how far the latter may be off."""

    name: str
    ledger_s: float
    observed_s: float
    uncertainty_s: float
    observer_s: float

    @property
    def off_s(self) -> float:
        """The ledger's minus the observer's."""
        return self.ledger_s - self.observed_s

    @property
    def allowed_s(self) -> float:
        """What the rule allows."""
        return max(SHARE * self.observed_s, self.uncertainty_s)

    @property
    def is_within(self) -> bool:
        """Whether it keeps the rule."""
        return abs(self.off_s) <= self.allowed_s

    @property
    def is_explained(self) -> bool:
        """Whether it keeps the rule but for the observer's own resolution."""
        return abs(self.off_s) <= self.allowed_s + self.observer_s

    def line(self) -> str:
        """For people."""
        verdict = (
            "within" if self.is_within else "within, by the observer's resolution" if self.is_explained else "OUTSIDE"
        )
        return (
            f"{self.ledger_s:10.3f} {self.observed_s:10.3f} {self.off_s:+8.3f} {self.uncertainty_s:8.3f} "
            f"{self.allowed_s:8.3f} {self.observer_s:8.3f}  {verdict:21} {self.name}"
        )


HEADER = f"{'ledger':>10} {'observer':>10} {'off':>8} {'recorded':>8} {'allowed':>8} {'observer':>8}   (device-seconds)"


def held_in(seen: dict[str, Any], pids_in: Mapping[str, Collection[int]]) -> dict[str, Held]:
    """What placement groups held on a node, by what the ledger calls it: the group's id and the node's.

    ``pids_in`` has the processes that worked in each of them.
    """
    created: dict[str, dict[str, Any]] = {}
    over: dict[str, dict[str, Any]] = {}
    for change in seen["changes"]:
        if change["state"] == "CREATED":
            created[change["group"]] = change
        elif change["group"] in created:
            over.setdefault(_name(created[change["group"]]), change)
    last_look_t = seen["group_looks"][-1][0] if seen["group_looks"] else 0.0
    last_t = {worker["pid"]: worker["last_t"] for worker in seen["workers"] if _ends(worker)}
    found = {}
    for change in [change for change in seen["changes"] if change["state"] == "CREATED"]:
        begin_t, begin_off_s = _middle(change)
        if _name(change) in over:
            end_t, end_off_s = _middle(over[_name(change)])
        else:
            own = [last_t[pid] for pid in pids_in.get(_name(change), ()) if pid in last_t]
            end_t, end_off_s = max([last_look_t, *(own or last_t.values())]), 2 * LOOK_S
        bundles = change["bundles"]
        amount = sum(b.get("GPU", 0.0) for b in bundles) or sum(b.get("CPU", 0.0) for b in bundles)
        found[_name(change)] = Held(begin_t, end_t, amount, begin_off_s, end_off_s)
    return found


def _name(created: dict[str, Any]) -> str:
    return f"{created['group']}@{created['node'][:8]}"


def _middle(change: dict[str, Any]) -> tuple[float, float]:
    after_t, by_t = change["after_t"], change["by_t"]
    return (by_t, float("inf")) if after_t is None else ((after_t + by_t) / 2, (by_t - after_t) / 2)


def _ends(worker: dict[str, Any]) -> list[float]:
    """When calls of a trial ended in a worker: its title changed, or it was gone."""
    titles = worker["titles"]
    ends = [t for (_, before), (t, _) in pairwise(titles) if before.endswith(AT_WORK)]
    return [*ends, worker["last_t"]] if titles[-1][1].endswith(AT_WORK) else ends


def by_group(attempts: Sequence[Attempt]) -> dict[str, list[Attempt]]:
    """The attempts in each placement group, in the order in which they ran."""
    found = defaultdict(list)
    for attempt in sorted(attempts, key=lambda attempt: attempt.begin_t):
        found[str(attempt.allocation)].append(attempt)
    return found


def compared_attempts(
    attempts: Sequence[Attempt], held: Held, workers: Sequence[dict[str, Any]]
) -> Iterator[tuple[Compared, int]]:
    """The attempts in one placement group, each with its number of attempts: several if no end between them was seen."""
    ends = sorted(end for worker in workers for end in _ends(worker))
    last, is_one_each = len(attempts) - 1, len(ends) == len(attempts)
    together: list[Attempt] = []
    begin_t, begin_off_s = held.begin_t, held.begin_off_s
    for place, attempt in enumerate(attempts):
        together.append(attempt)
        if place == last:
            end_t, end_off_s = held.end_t, held.end_off_s
        elif is_one_each:
            end_t, end_off_s = ends[place], TITLE_S
        else:
            near = min(ends, key=lambda end: abs(end - attempt.end_t), default=float("inf"))
            if abs(near - attempt.end_t) > NEAR_S:
                continue
            ends.remove(near)
            end_t, end_off_s = near, TITLE_S
        yield (
            Compared(
                " + ".join(one.attempt for one in together),
                sum(one.allocated_s for one in together),
                held.amount * (end_t - begin_t),
                sum(one.uncertainty_s for one in together),
                held.amount * (begin_off_s + end_off_s),
            ),
            len(together),
        )
        together, begin_t, begin_off_s = [], end_t, end_off_s


def run_study(options: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Run the study until it is finished, at most three times; what each observer saw, and the exit codes."""
    settings = [word for one in options.settings for word in ("--set", one)]
    command = [sys.executable, "-m", "harness.cli", "run", str(options.study), "--out", str(folder / "out"), *settings]
    environment = {**os.environ, "HOME": str(folder)}
    watching = {**environment, "RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    seen, codes = [], []
    while len(codes) < 3 and (not codes or codes[-1] != 0):
        number = len(codes)
        with (folder / f"log{number}.txt").open("wb") as log:
            driver = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            file = folder / f"seen{number}.json"
            observer = subprocess.Popen([sys.executable, str(WATCH), str(driver.pid), str(file)], env=watching)
            if number == 0 and options.kill:
                kill(options.kill, options.after, driver, folder / "out")
            codes.append(driver.wait())
            observer.wait()
        seen.append(json.loads(file.read_text(encoding="utf-8")))
    return seen, codes


def kill(what: str, after_s: float, driver: subprocess.Popen[bytes], out: Path) -> None:
    """Kill the driver, or a worker with an attempt, some seconds after the first attempt has begun its work."""
    while driver.poll() is None:
        records = read_ledger(out / "ledger").records if (out / "ledger").exists() else []
        begun = [record["t"] for record in records if record["kind"] == Kind.WORK_BEGUN]
        if begun and time.time() > begun[0] + after_s:
            pids = {record["segment"]: record["pid"] for record in records if record["kind"] == Kind.SEGMENT_OPENED}
            over = {record["attempt"] for record in records if record["kind"] == Kind.ATTEMPT_ENDED}
            running = [
                pids[r["segment"]] for r in records if r["kind"] == Kind.ATTEMPT_STARTED and r["attempt"] not in over
            ]
            if what == "driver" or running:
                os.kill(driver.pid if what == "driver" else running[-1], signal.SIGKILL)
                return
        time.sleep(0.2)


def compare(seen: Sequence[dict[str, Any]], records: Sequence[Record]) -> dict[str, object]:
    """Compare, print, and return what the row says."""
    view = derive(records)
    by_pid = {worker["pid"]: worker for one in seen for worker in one["workers"]}
    pids = {record["segment"]: record["pid"] for record in records if record["kind"] == Kind.SEGMENT_OPENED}
    pid_of = {r["attempt"]: pids[r["segment"]] for r in records if r["kind"] == Kind.ATTEMPT_STARTED}
    in_ledger = by_group(view.attempts)
    pids_in = {group: [pid_of[a.attempt] for a in attempts] for group, attempts in in_ledger.items()}
    groups = {group: held for one in seen for group, held in held_in(one, pids_in).items()}
    startups = {start.allocation: start for start in view.startups}
    everything: list[Attempt | StartUp] = [*view.attempts, *view.startups]
    of_attempts: list[Compared] = []
    of_groups: list[Compared] = []
    num_apart = 0
    for group, held in groups.items():
        attempts = in_ledger.get(group, [])
        workers = [by_pid[pid] for pid in dict.fromkeys(pid_of[a.attempt] for a in attempts) if pid in by_pid]
        for one, count in compared_attempts(attempts, held, workers):
            of_attempts.append(one)
            num_apart += count == 1
        billed: list[Attempt | StartUp] = [*attempts, *([startups[group]] if group in startups else [])]
        of_groups.append(
            Compared(
                f"group {group[:12]}, {len(attempts)} attempts",
                sum(each.allocated_s for each in billed),
                held.held_s,
                sum(each.uncertainty_s for each in billed),
                held.amount * (held.begin_off_s + held.end_off_s),
            )
        )
    total = Compared(
        "total",
        sum(each.allocated_s for each in everything),
        sum(held.held_s for held in groups.values()),
        sum(each.uncertainty_s for each in everything),
        sum(one.observer_s for one in of_groups),
    )
    print(HEADER)
    for one in (*of_attempts, *of_groups, total):
        print(one.line())
    gaps = [later[0] - sooner[0] for found in seen for sooner, later in pairwise(found["group_looks"])]
    missed = sorted((in_ledger.keys() | startups.keys()) - groups.keys())
    unknown = groups.keys() - in_ledger.keys() - startups.keys()
    return {
        "ledger_s": round(total.ledger_s, 3), "observed_s": round(total.observed_s, 3), "off_s": round(total.off_s, 3),
        "off_share": round(total.off_s / total.observed_s, 5) if total.observed_s else None,
        "recorded_uncertainty_s": round(total.uncertainty_s, 3), "allowed_s": round(total.allowed_s, 3),
        "total_within": total.is_within,
        **_counts("groups", of_groups), **_counts("attempts", of_attempts),
        "attempts": len(view.attempts), "attempts_seen_apart": num_apart,
        "attempts_lost": sum(a.status is Status.LOST for a in view.attempts),
        "groups_only_in_ledger": len(missed), "groups_only_observed": len(unknown),
        "look_s_median": round(statistics.median(gaps), 4) if gaps else None,
        "look_s_max": round(max(gaps), 4) if gaps else None,
        "good": bool(groups) and total.is_within and not missed
        and all(one.is_explained for one in (*of_attempts, *of_groups)),
    }  # fmt: skip


def _counts(what: str, all_of: Sequence[Compared]) -> dict[str, object]:
    return {
        f"{what}_compared": len(all_of),
        f"{what}_within": sum(one.is_within for one in all_of),
        f"{what}_within_by_observers_resolution": sum(one.is_explained for one in all_of),
        f"{what}_off_s_largest": round(max((abs(one.off_s) for one in all_of), default=0.0), 3),
    }


def main() -> None:
    """Run the study, compare, and append the row if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", type=Path, default=QUICKSTART)
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as for run; repeatable")
    parser.add_argument("--kill", choices=["worker", "driver"])
    parser.add_argument("--after", type=float, default=15.0, help="seconds of work before the kill")
    parser.add_argument("--keep", type=Path, help="a new folder for the study and what was seen; else temporary")
    parser.add_argument("--row", action="store_true", help=f"append the row to {RESULTS.name}")
    options = parser.parse_args()
    if options.study == QUICKSTART and not options.settings:
        options.settings = list(FEW)
    with ExitStack() as stack:
        if options.keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            folder = options.keep.resolve()
            folder.mkdir(parents=True)
        load_1min, begin_s = os.getloadavg()[0], time.monotonic()
        seen, codes = run_study(options, folder)
        if codes[-1] != 0:
            last = (folder / f"log{len(codes) - 1}.txt").read_text(errors="replace").splitlines()[-5:]
            raise SystemExit(f"the study ended with exit code {codes[-1]}:\n" + "\n".join(last))
        wall_s = time.monotonic() - begin_s
        row = {
            **machine("cpu", ["torch", "timm", "ray"]),
            "cores": len(os.sched_getaffinity(0)), "load_1min": round(load_1min, 1),
            "study": options.study.stem, "settings": options.settings, "killed": options.kill, "num_runs": len(codes),
            "wall_s": round(wall_s, 1), **compare(seen, read_ledger(folder / "out" / "ledger").records),
        }  # fmt: skip
    line = json.dumps(row)
    print(line)
    if options.row:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    sys.exit(0 if row["good"] else 1)


if __name__ == "__main__":
    main()
