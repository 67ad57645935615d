"""What a study would cost, before it costs anything: its own routes and scheduler, played through in a simulation.

The jobs are those the routes really propose. Their cost is epochs × images × MACs over a speed that is measured here on a
few training steps of the parent, so it is an estimate for this machine, within about a factor of two.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypedDict

import numpy as np
import torch

from accounting.cost.charges import ChargePolicy, charge_factor
from accounting.study.folder import StudyFolder
from harness.config.routes import BudgetConfig, SearchConfig
from harness.config.study import StudyConfig
from harness.errors import InputError
from harness.jobs.job import Outcome
from harness.models.build import build_network
from harness.routes.base import View
from harness.scheduling.remakes import Remakes
from harness.scheduling.scheduler import Scheduler
from harness.scheduling.simulated import NOTHING_SPENT, PlannedJob, Simulation
from harness.training.loop import on_device
from harness.validation import make_routes
from harness.work.price import PASSES_PER_TRAINED_IMAGE, price_s
from nas_baseline.strategies import shares_weights

NOMINAL_MACS_PER_S = 1e9
"""Of :func:`expected_jobs`, which only compares jobs with each other."""
TIMED_FOR_S = 3.0
"""How long steps of the parent are timed."""
NOTHING_KNOWN: Mapping[str, Outcome] = MappingProxyType({})
Spent = Mapping[tuple[str, int], float]


class PlannedPhase(TypedDict):
    """What a route spends in a phase."""

    route: str
    phase: str
    num_jobs: int
    hours: float


class ChargedTarget(TypedDict):
    """What a route is charged for one target in one replicate."""

    route: str
    target: int
    policy: str
    hours: float


class PlanSummary(TypedDict):
    """A plan in numbers; hours are device-hours of ``unit``."""

    study: str
    unit: str
    device: str
    speed_macs_per_s: float
    num_jobs: int
    num_done: int
    hours: float
    wall_hours: float
    num_devices: float
    budget_caps_it: bool
    phases: list[PlannedPhase]
    per_target: list[ChargedTarget]


@dataclass(frozen=True)
class Plan:
    """All jobs of a study, the speed they were estimated with, and the device it was measured on."""

    jobs: tuple[PlannedJob, ...]
    macs_per_s: float
    device: str
    capped: bool
    num_done: int = 0
    """Jobs that a study's folder has the outcome of; they are not among ``jobs``."""

    def summary(self, config: StudyConfig, num_devices: float) -> PlanSummary:
        """Jobs and device-hours by route and phase, by charge policy and target, and the whole."""
        unit = "gpu_hours" if self.device == "cuda" else "cpu_core_hours"
        phases: dict[tuple[str, str], list[float]] = {}
        for planned in self.jobs:
            phases.setdefault((planned.job.route, planned.job.phase), []).append(planned.seconds)
        total_h = sum(planned.seconds for planned in self.jobs) / 3600
        return {
            "study": config.name,
            "unit": unit,
            "device": self.device,
            "speed_macs_per_s": self.macs_per_s,
            "num_jobs": len(self.jobs),
            "num_done": self.num_done,
            "hours": total_h,
            "wall_hours": total_h / max(1.0, num_devices),
            "num_devices": num_devices,
            "budget_caps_it": self.capped,
            "phases": [
                {"route": route, "phase": str(phase), "num_jobs": len(seconds), "hours": sum(seconds) / 3600}
                for (route, phase), seconds in phases.items()
            ],
            "per_target": [
                {
                    "route": route,
                    "target": target,
                    "policy": str(policy),
                    "hours": self._charged(route, target, policy, config),
                }
                for route in ("search", "prune", "supernet", "search_then_prune")
                if getattr(config.routes, route) is not None
                for target in config.targets
                for policy in ChargePolicy
            ],
        }

    def _charged(self, route: str, target: int, policy: ChargePolicy, config: StudyConfig) -> float:
        """Device-hours of one replicate."""
        seconds = sum(
            planned.seconds
            * charge_factor(
                policy,
                phase=planned.job.phase,
                attempt_target=planned.job.target,
                target=target,
                num_targets=len(config.targets),
            )
            for planned in self.jobs
            if planned.job.route == route
        )
        return seconds / config.replicates / 3600


def plan_study(
    view: View,
    device: str,
    known: Mapping[str, Outcome] = NOTHING_KNOWN,
    spent_s: Spent = NOTHING_SPENT,
    timed_for_s: float = TIMED_FOR_S,
) -> Plan:
    """Estimate every job of a study that is not ``known`` already, by name; ``spent_s`` is what was paid for those."""
    return play(view, measure_speed(view, device, timed_for_s), device, known, spent_s)


def expected_jobs(view: View, device: str) -> tuple[PlannedJob, ...]:
    """All jobs of a study as if no budget ended any route; seconds at a speed that nobody measured, to compare jobs by."""
    is_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    unlimited = BudgetConfig()
    view = replace(view, config=view.config.model_copy(update={"budget": unlimited}))
    return play(view, NOMINAL_MACS_PER_S, "cuda" if is_cuda else "cpu").jobs


def play(
    view: View,
    speed: float,
    device: str,
    known: Mapping[str, Outcome] = NOTHING_KNOWN,
    spent_s: Spent = NOTHING_SPENT,
) -> Plan:
    """Play the study through at a speed in MACs per second, with the scheduler of a real one; nothing is measured.

    ``InputError`` where a route of a user's own fails.
    """
    view = _with_random_search(view)
    config, num_train = view.config, view.info.num_train
    # On the CPU a job holds as many cores as it computes with. A share of a GPU takes as many device-seconds as a whole.
    share = max(1, int(config.resources.devices_per_job)) if device == "cpu" else 1
    simulation = Simulation(lambda job: share * price_s(job, num_train, speed, device), spent_s)
    routes = [route for replicate in range(config.replicates) for route in make_routes(view, replicate)]
    no_files = Remakes(StudyFolder(Path()), [])
    scheduler = Scheduler(routes, config.budget.model_dump(), known, simulation, simulation, no_files)
    simulation.run(scheduler)
    if scheduler.ended is not None:
        raise InputError(scheduler.ended)
    return Plan(tuple(simulation.jobs), speed, device, bool(scheduler.stopped), scheduler.num_replayed)


def _with_random_search(view: View) -> View:
    """A search trains as many candidates and retrains as many finalists whatever proposes them; this one is quick.

    A strategy that shares weights stays, since it has other jobs.
    """
    routes = view.config.routes
    quick: dict[str, Any] = {"search": _quick(routes.search)}
    if routes.search_then_prune is not None:
        own = routes.search_then_prune.search or routes.search
        quick["search_then_prune"] = routes.search_then_prune.model_copy(update={"search": _quick(own)})
    return replace(view, config=view.config.model_copy(update={"routes": routes.model_copy(update=quick)}))


def _quick(search: SearchConfig | None) -> SearchConfig | None:
    if search is None or shares_weights(search.strategy.name):
        return search
    strategy = search.strategy.model_copy(update={"name": "random", "options": {}})
    finalists = {"num_predicted": 0, "num_seen": search.num_predicted + search.num_seen}
    return search.model_copy(update={"strategy": strategy, **finalists})


def measure_speed(view: View, device: str, budget_s: float = TIMED_FOR_S) -> float:
    """MACs per second of training the parent on one device (one thread on the CPU), from a few steps on noise."""
    where = torch.device("cuda:0" if device == "cuda" else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(view.config.resources.devices_per_job)) if device == "cpu" else threads)
    try:
        model = on_device(build_network(view.parent), where).train()
        batch = 8 if view.parent_macs > 10**8 and device == "cpu" else view.config.recipe.batch_size
        images = torch.randn(batch, *view.info.image_shape, device=where).contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(batch, dtype=torch.long, device=where)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < 3 or (time.perf_counter() - began < budget_s and len(times) < 50):
            begin = time.perf_counter()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        return PASSES_PER_TRAINED_IMAGE * view.parent_macs * batch / float(np.median(times[1:]))
    finally:
        torch.set_num_threads(threads)
