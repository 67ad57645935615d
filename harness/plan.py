"""What a study would cost, before it costs anything: its own routes and scheduler, run in a simulation.

The jobs are those that the routes really propose. A job costs epochs × images × MACs ÷ speed. The speed is measured here, on
a few training steps of the parent and of each other kind of network, or predicted for a device elsewhere (``planning/``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import torch

from accounting.cost.charges import ChargePolicy, charge_factor
from accounting.cost.lineage import jobs_built_on
from accounting.ledger.records import Phase
from accounting.ledger.specs import JobSpec
from accounting.macs.count import MacsReport
from accounting.study.folder import StudyFolder
from accounting.words.names import Unit, device_kind
from accounting.words.quantities import HOUR_S
from harness.config.phases import checked_shapes, compiled_phases
from harness.config.routes import BudgetConfig, with_keys
from harness.config.study import StudyConfig
from harness.errors import InputError
from harness.jobs.job import Job, Outcome
from harness.jobs.spec import links
from harness.jobs.work import Train, is_compiled
from harness.planning.hardware import HIGH, LOW, Fleet
from harness.planning.pools import ONE_DEVICE, Pool, amounts_of, pools_of
from harness.planning.speeds import Kind, Speeds, Timed, modelled_speeds
from harness.planning.summary import PlannedCompile, PlannedTeacher, PlanSummary, RateEnds
from harness.routes.base import View
from harness.scheduling.forecast import Forecast
from harness.scheduling.remakes import Remakes
from harness.scheduling.scheduler import Scheduler
from harness.scheduling.simulated import NOTHING_SPENT, PlannedJob, Simulation
from harness.validation import make_routes
from harness.work.peers import is_shared
from harness.work.price import epochs_of, price_s, teaching_s

NOMINAL = Speeds(1e9)
"""Speeds for :func:`expected_jobs`, where only the ratios between jobs matter."""
TIMED_FOR_S = 4.0
"""How long training steps are timed."""
MEASURED = Phase.PRETRAIN
"""The phase whose workers' speed is measured; the speed of others is scaled by their threads."""
NOTHING_KNOWN: Mapping[str, Outcome] = MappingProxyType({})
Spent = Mapping[tuple[str, int], float]


@dataclass(frozen=True)
class Plan:
    """All jobs of a study, and the speeds and device for which they were estimated.

    ``wall_s`` is the elapsed time in seconds on ``num_devices``, with routes waiting for each other as in a run.
    """

    jobs: tuple[PlannedJob, ...]
    speeds: Speeds
    device: str
    capped: bool
    wall_s: float
    num_devices: float
    num_done: int = 0
    """Jobs whose outcome is already in the study's folder; they are not among ``jobs``."""
    fleets: tuple[Fleet, ...] = ()
    """The devices elsewhere for which it was made; empty: those of this machine."""
    rate: float = 1.0
    """What an hour on the device whose speed is known counts as; ``speeds`` are those of the reference model."""
    ends: tuple[Plan, ...] = ()
    """The same plan at the ends of the declared rates of GPU models."""

    compiles: tuple[PlannedCompile, ...] = ()

    @property
    def hours(self) -> float:
        """Device-hours of all jobs."""
        return sum(planned.seconds for planned in self.jobs) / HOUR_S

    @property
    def held_h(self) -> dict[str, float]:
        """Hours as they would be held, by model."""
        return amounts_of((planned.pool.model, planned.held_s / HOUR_S) for planned in self.jobs)

    def summary(self, config: StudyConfig) -> PlanSummary:
        """Jobs and device-hours by route and phase, by charge policy and target, and the whole."""
        unit = Unit.of(device_kind(self.device)).value
        phases: dict[tuple[str, str], list[float]] = {}
        for planned in self.jobs:
            phases.setdefault((planned.job.route, planned.job.phase), []).append(planned.seconds)
        return {
            "study": config.name,
            "unit": unit,
            "device": self.device,
            "speed_macs_per_s": self.speeds.parent * self.rate,
            "num_jobs": len(self.jobs),
            "num_done": self.num_done,
            "hours": self.hours,
            "wall_hours": self.wall_s / HOUR_S,
            "num_devices": self.num_devices,
            "on": ", ".join(map(str, self.fleets)) or None,
            "range": [LOW, HIGH] if self.fleets else None,
            "held": [{"model": model, "hours": hours} for model, hours in self.held_h.items()],
            "at_rate_ends": self._at_ends(),
            "budget_caps_it": self.capped,
            "phases": [
                {"route": route, "phase": str(phase), "num_jobs": len(seconds), "hours": sum(seconds) / HOUR_S}
                for (route, phase), seconds in phases.items()
            ],
            "per_target": [
                {
                    "route": route,
                    "target": target,
                    "policy": str(policy),
                    "hours": self._charged(route, target, policy, config),
                }
                for route in config.routes.in_comparison
                for target in config.targets
                for policy in ChargePolicy
            ],
            "teachers": self._teachers(),
            "compiled": compiled_phases(config),
            "compile": list(self.compiles),
        }

    def _at_ends(self) -> RateEnds | None:
        if not self.ends:
            return None
        each = [self, *self.ends]
        hours, wall_hours = [plan.hours for plan in each], [plan.wall_s / HOUR_S for plan in each]
        return {"hours": [min(hours), max(hours)], "wall_hours": [min(wall_hours), max(wall_hours)]}

    def _teachers(self) -> list[PlannedTeacher]:
        found: dict[str, PlannedTeacher] = {}
        for planned in self.jobs:
            if (teacher := planned.job.teacher) is not None:
                so_far = found.get(teacher.name)
                found[teacher.name] = {
                    "teacher": teacher.name,
                    "macs": teacher.macs,
                    "num_jobs": (so_far["num_jobs"] if so_far else 0) + 1,
                    "hours": (so_far["hours"] if so_far else 0.0) + planned.teaching_s / HOUR_S,
                }
        return list(found.values())

    def _charged(self, route: str, target: int, policy: ChargePolicy, config: StudyConfig) -> float:
        """Device-hours of one replicate, including the work of other routes on which it builds."""
        jobs = {planned.job.name: planned.job for planned in self.jobs}
        mine = {
            name: self._links[name] for name, job in jobs.items() if job.route == route and job.target in (None, target)
        }
        others = jobs_built_on(mine, self._links, lambda job: job in jobs and jobs[job].route != route)
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
            if planned.job.route == route or planned.job.name in others
        )
        return seconds / config.replicates / HOUR_S

    @cached_property
    def _links(self) -> dict[str, JobSpec]:
        """What each job builds on, as its record in a ledger would say."""
        return {planned.job.name: links(planned.job) for planned in self.jobs}


def plan_study(
    view: View,
    device: str,
    amounts: Mapping[str, float],
    known: Mapping[str, Outcome] = NOTHING_KNOWN,
    spent_s: Spent = NOTHING_SPENT,
    timed_for_s: float = TIMED_FOR_S,
    compiles: bool = False,
) -> Plan:
    """Estimate every job of a study but those ``known`` (outcomes by name), on which ``spent_s`` was spent.

    ``amounts`` are how many devices there are of each model; the first is that of the device whose speed is measured.
    What compiling does is measured for the trainings that are compiled; with ``compiles``, for all.
    """
    speeds = measure_speeds(view, device, timed_for_s, compiles)
    plan = plan_at(view, speeds, next(iter(amounts)), amounts, device, known, spent_s)
    return replace(plan, compiles=_compiles(view, plan, speeds))


def plan_elsewhere(
    view: View,
    fleets: Sequence[Fleet],
    known: Mapping[str, Outcome] = NOTHING_KNOWN,
    spent_s: Spent = NOTHING_SPENT,
) -> Plan:
    """The same for devices that are not here, at speeds predicted by a model.

    Raises:
        InputError: there are devices of several models, and the study does not declare what their hours count as.

    """
    equivalence, batch = view.config.resources.equivalence, view.config.recipe.batch_size
    models = {fleet.model(view.config.resources.gpu_models): fleet for fleet in fleets}
    if len(models) > 1 and not equivalence.covers(models):
        raise InputError(
            f"--on: {', '.join(map(str, fleets))} given; hours on several models are added up only if resources.device_kind "
            f"and resources.equivalent name all of them: {', '.join(models)}"
        )
    known_model = equivalence.reference if equivalence.reference in models else next(iter(models))

    def seconds_of(network: MacsReport) -> float:
        return models[known_model].hardware.seconds_per_image(network, batch)

    jobs = _one_of_each(view)
    speeds = modelled_speeds(view.parent, view.parent_macs, jobs, view.parent_info.image_shape, seconds_of)
    amounts = {model: float(fleet.count) for model, fleet in models.items()}
    return replace(plan_at(view, speeds, known_model, amounts, "cuda", known, spent_s), fleets=tuple(fleets))


def plan_at(
    view: View,
    speeds: Speeds,
    model: str,
    amounts: Mapping[str, float],
    device: str,
    known: Mapping[str, Outcome] = NOTHING_KNOWN,
    spent_s: Spent = NOTHING_SPENT,
) -> Plan:
    """A plan at the given speeds of a device of ``model``, for ``amounts`` of devices by model.

    If the study declares what hours on these models count as, it is in hours of the reference, with the ends of the ranges.
    """
    equivalence = view.config.resources.equivalence
    models = {model, *amounts}
    if not equivalence.covers(models):
        return play(view, speeds, device, known, spent_s, (Pool(sum(amounts.values()), model=model),))

    def at(rates: Mapping[str, float]) -> Plan:
        rate = rates.get(model, 1.0)
        plan = play(view, speeds.counted(rate), device, known, spent_s, pools_of(amounts, rates))
        return replace(plan, rate=rate)

    return replace(at(equivalence.rates), ends=tuple(at(rates) for rates in equivalence.ends(models)))


def expected_jobs(view: View, device: str) -> tuple[PlannedJob, ...]:
    """All jobs of a study if no budget ended any route. Seconds are at a nominal speed, only for comparing jobs."""
    is_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return _unlimited(view, NOMINAL, "cuda" if is_cuda else "cpu")


def _one_of_each(view: View) -> tuple[Job, ...]:
    """The jobs of one replicate, without budgets."""
    one = view.config.model_copy(update={"replicates": 1})
    return tuple(planned.job for planned in expected_jobs(replace(view, config=one), "cpu"))


def pricing(view: View, speeds: Speeds, device: str) -> tuple[Callable[[Job], float], Callable[[Job], float]]:
    """Two functions of a job: its device-seconds at given speeds of one worker, and its teacher's part of these."""
    at_once = _at_once(view, device)

    def device_s(job: Job) -> float:
        held, faster = at_once(job)
        teaching = speeds.parent * speeds.evaluation * faster
        gain, compile_s = speeds.compiled(job)
        trains = speeds.of(job) * faster * gain
        return held * (compile_s + price_s(job, view.info, trains, device, teaching, speeds.evaluation / gain))

    def of_teacher_s(job: Job) -> float:
        held, faster = at_once(job)
        return held * teaching_s(job, view.info.num_train, speeds.parent * speeds.evaluation * faster)

    return device_s, of_teacher_s


def _at_once(view: View, device: str) -> Callable[[Job], tuple[float, float]]:
    """The devices that a job holds, and its speed relative to the measured worker."""
    shapes = checked_shapes(view.config, device)

    def found(job: Job) -> tuple[float, float]:
        # A job is charged for all that it holds, also where it cannot compute on half a core. A share of a device takes as
        # many device-seconds as a whole one.
        shape = shapes[job.phase]
        workers = shape.workers if is_shared(job) else 1
        threads = shape.threads / shapes[MEASURED].threads if device == "cpu" else 1
        return max(1.0, shape.devices), threads * workers

    return found


def _compiles(view: View, plan: Plan, speeds: Speeds) -> tuple[PlannedCompile, ...]:
    """What compiling does to each kind of training for which it was measured; ``speeds`` are in its own seconds."""
    at_once, images = _at_once(view, plan.device), view.info.num_train
    found = []
    for kind, measured in speeds.compiling.items():
        jobs = [each.job for each in plan.jobs if Kind.of(each.job) == kind and isinstance(each.job.work, Train)]
        if not jobs:
            continue
        epochs = [epochs_of(job) for job in jobs]
        pays_from = measured.epochs_to_pay(images, at_once(jobs[0])[1])
        found.append(
            PlannedCompile(
                route=kind.route,
                phase=kind.phase,
                is_masked=kind.is_masked,
                images_per_s=measured.images_per_s,
                compiled_images_per_s=measured.compiled_images_per_s,
                compile_s=measured.compile_s,
                pays_from_epochs=None if math.isinf(pays_from) else max(1, math.ceil(pays_from)),
                epochs=[min(epochs), max(epochs)],
                pays=sum(epochs) > pays_from * len(jobs),
                is_on=any(is_compiled(job.work) for job in jobs),
                problem=measured.problem,
            )
        )
    return tuple(found)


def forecast_of(view: View, speeds: Speeds, device: str, pace: float | None = None) -> Forecast:
    """A forecast of job costs, from the study's plan without budgets; ``pace`` is fixed if given, and learned otherwise."""
    planned = [(each.job, each.seconds) for each in _unlimited(view, speeds, device)]
    return Forecast(planned, pricing(view, speeds, device)[0], pace)


def _unlimited(view: View, speeds: Speeds, device: str) -> tuple[PlannedJob, ...]:
    """All jobs of a study if no budget ended any route."""
    unlimited = with_keys(BudgetConfig)()
    view = replace(view, config=view.config.model_copy(update={"budget": unlimited}))
    return play(view, speeds, device).jobs


def play(
    view: View,
    speeds: Speeds,
    device: str,
    known: Mapping[str, Outcome] = NOTHING_KNOWN,
    spent_s: Spent = NOTHING_SPENT,
    pools: Sequence[Pool] = ONE_DEVICE,
) -> Plan:
    """Simulate the study at given speeds, with the scheduler that a real run uses; nothing is measured.

    Raises:
        InputError: a user's own route fails.

    """
    view = replace(view, config=view.config.model_copy(update={"routes": view.config.routes.planned}))
    config = view.config
    shapes = checked_shapes(config, device)
    device_s, of_teacher_s = pricing(view, speeds, device)
    simulation = Simulation(device_s, spent_s, pools, lambda job: shapes[job.phase].devices)
    routes = [route for replicate in range(config.replicates) for route in make_routes(view, replicate)]
    no_files = Remakes(StudyFolder(Path()), [])
    budget_h = config.budget.model_dump()
    forecast = None
    if any(limit_h is not None for limit_h in budget_h.values()):
        forecast = forecast_of(view, speeds, device, pace=1.0)
    scheduler = Scheduler(routes, budget_h, known, simulation, simulation, no_files, forecast=forecast)
    simulation.run(scheduler)
    if scheduler.ended is not None:
        raise InputError(scheduler.ended)
    jobs = (replace(each, teaching_s=of_teacher_s(each.job)) for each in simulation.jobs)
    return Plan(
        tuple(jobs), speeds, device, bool(scheduler.stopped), simulation.wall_s,
        sum(pool.amount for pool in pools), scheduler.num_replayed,
    )  # fmt: skip


def measure_speeds(view: View, device: str, budget_s: float = TIMED_FOR_S, compiles: bool = False) -> Speeds:
    """MACs per second at which one worker trains, on one GPU or on its CPU threads, from a few steps on noise.

    What compiling does is measured for the trainings that are compiled; with ``compiles``, for all.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(view.config.resources.shape(MEASURED, device).threads if device == "cpu" else threads)
    try:
        return timed_of(view, compiles).measured(torch.device("cuda:0" if device == "cuda" else "cpu"), budget_s)
    finally:
        torch.set_num_threads(threads)


def timed_of(view: View, compiles: bool = False) -> Timed:
    """The networks and recipe of a study with which its speeds are measured; ``compiles`` is as in :class:`Timed`."""
    batch = view.config.recipe.batch_size
    return Timed(view.parent, view.parent_macs, _one_of_each(view), view.parent_info, batch, compiles)
