"""Stores a study's plan in its folder when it begins, and again each time it is extended."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import astuple

import torch

from accounting.cost.attempts import derive
from accounting.cost.shares import counted, spent_s
from accounting.cost.values import CostView
from accounting.ledger.records import DeviceRecord, Status
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from accounting.study.own_python import own_python
from accounting.study.plans import PlannedStep, StoredPlan, next_number, read_plans, store_plan
from accounting.words.names import device_kind
from accounting.words.plain_text import one_line
from accounting.words.quantities import HOUR_S
from harness.devices import cpu_name
from harness.errors import typed_line
from harness.plan import NOMINAL, Plan, measure_speeds, plan_at, timed_of
from harness.planning.pools import amounts_of
from harness.planning.speeds import Compiling, Kind, Speeds, Timed, to_compile
from harness.routes.base import View
from harness.scheduling.known import known_outcomes
from harness.stored.study_file import Standing

log = logging.getLogger(__name__)

MEASURED_FOR_S = 2.0
"""How long training steps are timed; at least five steps of each network, however long they take."""
GPU_ANSWERS_S = 60.0
"""How long the separate process that measures on a GPU may take; the driver itself never holds a GPU."""
COMPILES_S = 300.0
"""How much longer for each kind of training that is compiled."""

Step = tuple[str, str, int | None, int]


def keep_plan(
    view: View, standing: Standing, capacity: Sequence[DeviceRecord], session: str, paths: StudyFolder
) -> None:
    """Store a plan if the study begins or is extended; one that only continues has its plan already.

    If no plan can be made, a warning is logged and the study runs without one.
    """
    device = "cuda" if any(entry["device_kind"] == "cuda" for entry in capacity) else "cpu"
    try:
        if standing.changes or (not standing.is_begun and not _has_plan(paths, device)):
            store_plan(paths, _made(view, device, capacity, session, paths))
    except Exception as error:
        log.warning("no plan is kept with the study, so planned and actual cannot be compared: %s", typed_line(error))


def _has_plan(paths: StudyFolder, device: str) -> bool:
    """Whether the latest plan is for this kind of device. One for another kind is useless if nothing was begun with it."""
    plans = read_plans(paths)
    return bool(plans) and plans[-1].device == device


def _made(view: View, device: str, capacity: Sequence[DeviceRecord], session: str, paths: StudyFolder) -> StoredPlan:
    kind = device_kind(device)
    held = ((str(entry["name"]), float(entry["amount"])) for entry in capacity if entry["device_kind"] == kind)
    amounts = amounts_of(held)
    measured, note = _speeds(view, device, set(amounts))
    model, speeds = (next(iter(amounts)), None) if measured is None else measured
    ledger = derive(read_ledger(paths.ledger).records)
    plan = plan_at(view, speeds or NOMINAL, model, amounts, device, known_outcomes(paths), spent_s(ledger))
    return StoredPlan(
        number=next_number(paths),
        session=session,
        t=time.time(),
        device=device,
        speed_macs_per_s=None if speeds is None else speeds.parent,
        num_devices=plan.num_devices,
        budget_caps_it=plan.capped,
        steps=_steps(plan, ledger, has_hours=speeds is not None),
        note=note,
    )


def _speeds(view: View, device: str, names: set[str]) -> tuple[tuple[str, Speeds] | None, str | None]:
    """A device's model and its MACs per second; or None, with the reason, if nothing is known of those that jobs run on."""
    if device == "cpu":
        if names != {cpu_name()}:
            return None, "the jobs run on other processors than the driver's, whose speed was not measured"
        return (cpu_name(), measure_speeds(view, device, MEASURED_FOR_S)), None
    try:
        found, speeds = _asked_gpu(view)
    except Exception as error:
        return None, f"the speed of a GPU could not be measured on the driver's machine ({one_line(error, 100)})"
    if names != {found} and not view.config.resources.equivalence.covers({found, *names}):
        return None, f"the driver's machine has a {found}, the jobs run on {', '.join(sorted(names))}"
    return (found, speeds), None


def _asked_gpu(view: View) -> tuple[str, Speeds]:
    """The name and speeds of this machine's first GPU, measured in a process that then ends and frees the GPU."""
    words, env = own_python("-c", "from harness.keep_plan import tell_gpu; tell_gpu()")
    timed = timed_of(view)
    within_s = GPU_ANSWERS_S + COMPILES_S * len(to_compile(timed.jobs))
    done = subprocess.run(words, env=env, input=pickle.dumps(timed), capture_output=True, timeout=within_s, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.decode(errors="replace").strip().splitlines() or ["it died"])[-1])
    name, parent, shares, evaluation, compiling = json.loads(done.stdout.splitlines()[-1])
    return str(name), Speeds(
        float(parent),
        {Kind(*kind): float(share) for kind, share in shares},
        float(evaluation),
        {Kind(*kind): Compiling(*found) for kind, found in compiling},
    )


def tell_gpu() -> None:
    """Read what to time from standard input, and print the GPU's name and speeds as JSON. Runs in a process of its own."""
    timed: Timed = pickle.load(sys.stdin.buffer)
    speeds = timed.measured(torch.device("cuda:0"), MEASURED_FOR_S)
    shares = [(astuple(kind), share) for kind, share in speeds.shares.items()]
    compiling = [(astuple(kind), astuple(found)) for kind, found in speeds.compiling.items()]
    said = [torch.cuda.get_device_name(0), speeds.parent, shares, speeds.evaluation, compiling]
    sys.stdout.write(json.dumps(said) + "\n")


def _steps(plan: Plan, ledger: CostView, *, has_hours: bool) -> tuple[PlannedStep, ...]:
    """What the plan has left and what the ledger has done, by route, phase, target and replicate."""
    left: dict[Step, list[float]] = defaultdict(list)
    for planned in plan.jobs:
        job = planned.job
        left[job.route, str(job.phase), job.target, job.replicate].append(planned.seconds)
    spent_s: dict[Step, float] = defaultdict(float)
    for attempt in counted(ledger):
        spent_s[attempt.route, attempt.phase, attempt.target, attempt.replicate] += attempt.allocated_s
    done: Counter[Step] = Counter(
        (job.route, job.phase, job.target, job.replicate) for job in ledger.jobs if job.status is Status.OK
    )
    return tuple(
        PlannedStep(
            *step,
            jobs=len(left.get(step, ())),
            hours=sum(left.get(step, ())) / HOUR_S if has_hours else None,
            jobs_done=done[step],
            spent_hours=spent_s.get(step, 0.0) / HOUR_S,
        )
        for step in dict.fromkeys([*spent_s, *left])
    )
