"""A plan in numbers, as ``plan --json`` prints it."""

from __future__ import annotations

from typing import TypedDict


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


class PlannedTeacher(TypedDict):
    """A teacher: what its forward passes add to the trainings that use it. Its own training is not included."""

    teacher: str
    macs: int
    num_jobs: int
    hours: float


class ModelHours(TypedDict):
    """Hours as they would be held on the devices of one model."""

    model: str
    hours: float


class RateEnds(TypedDict):
    """The least and the most of a plan at the ends of the declared rates of GPU models."""

    hours: list[float]
    wall_hours: list[float]


class PlannedCompile(TypedDict):
    """What ``torch.compile`` does to a kind of training, measured on one network of it.

    Images per second are one worker's. It pays for a job ``pays_from_epochs`` on (null: it is not faster); ``pays`` says
    whether it does for all jobs of the kind together, whose shortest and longest training are ``epochs``. ``problem`` is
    why the network cannot be compiled.
    """

    route: str
    phase: str
    is_masked: bool
    images_per_s: float
    compiled_images_per_s: float
    compile_s: float
    pays_from_epochs: int | None
    epochs: list[int]
    pays: bool
    is_on: bool
    problem: str | None


class PlanSummary(TypedDict):
    """A plan in numbers; hours are device-hours of ``unit``, of the reference GPU model if rates are declared.

    For devices elsewhere, ``on`` names them, and ``range`` bounds the ratio of real to planned hours; null for this machine.
    ``held`` are hours as they would be held on each model. ``at_rate_ends`` is null unless declared rates have ranges that
    move the plan. ``compiled`` names the phases that the study compiles; ``compile`` is what was measured of compiling.
    """

    study: str
    unit: str
    device: str
    speed_macs_per_s: float
    num_jobs: int
    num_done: int
    hours: float
    wall_hours: float
    num_devices: float
    on: str | None
    range: list[float] | None
    held: list[ModelHours]
    at_rate_ends: RateEnds | None
    budget_caps_it: bool
    phases: list[PlannedPhase]
    per_target: list[ChargedTarget]
    teachers: list[PlannedTeacher]
    compiled: list[str]
    compile: list[PlannedCompile]
