"""What the jobs of each phase hold, and how many workers share one: the section ``resources``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from accounting.cost.equivalence import Equivalence, Equivalent
from accounting.ledger.records import Phase
from accounting.words.quantities import HOUR_S, parse_hours
from harness.config.section import Strict
from harness.errors import InputError

SHARED_PHASES = (Phase.PRETRAIN, Phase.SUPERNET, Phase.SEARCH, Phase.TUNE, Phase.RETRAIN, Phase.FINETUNE)
"""Those whose jobs several workers can share: each trains, or scores candidates."""
HELD_PHASES = (*SHARED_PHASES, Phase.PRUNE, Phase.EVALUATE, Phase.EXPORT)
"""Those whose jobs hold devices."""

PhaseName = Literal["pretrain", "supernet", "search", "tune", "retrain", "finetune", "prune", "evaluate", "export"]


MOST = 64
"""Devices, or workers, of one job."""
LEAST = 0.001
"""The least share of a device; Ray counts ten-thousandths."""


def _checked(value: object) -> object:
    """A number, or numbers by phase, in the range; one error for what is not, instead of one for each kind it could be."""
    for phase, number in value.items() if isinstance(value, dict) else [(None, value)]:
        if phase is not None and phase not in tuple(map(str, HELD_PHASES)):
            raise ValueError(f"{phase!r} is not a phase; allowed here: {', '.join(HELD_PHASES)}")
        where = "" if phase is None else f" for {phase}"
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= MOST:
            raise ValueError(
                f"{number!r} given{where}; allowed is a number above 0, at most {MOST}, or one for each phase"
            )
        if number < LEAST:
            raise ValueError(f"{number!r} given{where}; the least share of a device is {LEAST:g}")
    return value


def _whole(value: object) -> object:
    """As :func:`_checked`, and whole."""
    if value is None:
        return None
    _checked(value)
    if isinstance(value, dict):
        return {phase: _whole(number) for phase, number in value.items()}
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} given; workers are a whole number")
    return int(value) if isinstance(value, float) else value


NEVER = "never"


def _duration(value: object) -> object:
    """A duration with its unit, or ``never``."""
    if value != NEVER:
        try:
            parse_hours(value if isinstance(value, str) else repr(value))
        except ValueError as error:
            raise ValueError(f"{error}; or {NEVER}") from None
    return value


EQUIVALENT_KEYS = ("hours", "low", "high", "source")
MOST_EQUIVALENT = 4
"""Models with a declared equivalence; the verdict is judged at every combination of the ends of their ranges."""


def _equivalents(value: object) -> object:
    """Declared equivalences by model, each with all its keys and in its range."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MOST_EQUIVALENT:
        raise ValueError(f"{value!r} given; at most {MOST_EQUIVALENT} names of GPU models are allowed, with {{hours, low, "
                         "high, source}} each")  # fmt: skip
    for model, said in value.items():
        if not isinstance(model, str) or not 0 < len(model) <= 200:
            raise ValueError(f"{model!r} given; the name of a GPU model is expected, as its driver names it")
        if not isinstance(said, dict) or set(said) != set(EQUIVALENT_KEYS):
            raise ValueError(f"{model}: {said!r} given; the keys {', '.join(EQUIVALENT_KEYS)} are needed, and no other")
        numbers = [said[key] for key in ("low", "hours", "high")]
        if any(isinstance(n, bool) or not isinstance(n, int | float) or not isfinite(n) or n <= 0 for n in numbers):
            raise ValueError(f"{model}: {said!r} given; hours, low and high are numbers above 0")
        if not numbers[0] <= numbers[1] <= numbers[2]:
            raise ValueError(f"{model}: hours {numbers[1]:g} given with low {numbers[0]:g} and high {numbers[2]:g}; hours "
                             "lie between low and high")  # fmt: skip
        if not isinstance(said["source"], str) or not 0 < len(said["source"].strip()) <= 300:
            raise ValueError(f"{model}: source {said['source']!r} given; say in words where the numbers are from")
    return {model: {key: said[key] if key == "source" else float(said[key]) for key in EQUIVALENT_KEYS}
            for model, said in value.items()}  # fmt: skip


Devices = Annotated[float, Field(gt=0, le=MOST)]
Workers = Annotated[int, Field(ge=1, le=MOST)]


@dataclass(frozen=True)
class JobShape:
    """What one job holds: GPUs (or shares of one) or CPU cores, CPU cores beside its GPUs, workers that share them."""

    devices: float
    cpus: float
    workers: int

    @property
    def threads(self) -> int:
        """CPU threads of each worker."""
        return max(1, int(self.devices) // self.workers)


class ResourcesConfig(Strict):
    """What one job holds, and how often a job is tried."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What jobs run on; ``auto`` is CUDA if there is a GPU, else the CPU."""
    device_kind: str | None = Field(None, min_length=1, max_length=200)
    """The model of GPU to use, as its driver names it (NVIDIA A100-SXM4-80GB); by default the one there is. Hours of two
    models are not added up, unless ``equivalent`` says how: where there are several, name one here."""
    equivalent: Annotated[dict[str, dict[str, float | str]], BeforeValidator(_equivalents)] = Field({}, max_length=4)
    """Further models of GPU to use, each with what its hour counts as in hours of ``device_kind``, the range in which it
    certainly lies, and who says so: ``{NVIDIA A100-SXM4-80GB: {hours: 0.5, low: 0.4, high: 0.6, source: our benchmark}}``.
    Every hour that is shown, and every budget, is then in hours of ``device_kind``."""
    devices_per_job: Annotated[Devices | dict[PhaseName, Devices], BeforeValidator(_checked)] = 1.0
    """GPUs that share a job, or the share of one that it holds (0.25); on the CPU its cores. Also by phase, as
    ``{pretrain: 8, search: 1}``, with 1 for phases left out. A job that neither trains nor scores candidates has one GPU."""
    workers_per_job: Annotated[Workers | dict[PhaseName, Workers] | None, BeforeValidator(_whole)] = None
    """Processes that share the batches of a job that trains, by phase too; one for each of its GPUs, and one on the CPU."""
    cpus_per_job: float = Field(4, ge=0.001, le=1024)
    """CPU cores for each of a job's GPUs."""
    checkpoint_every: Annotated[str, BeforeValidator(_duration)] = "15 min"
    """After how long within an epoch a training's state is saved, from which another attempt continues, as ``10 min``; or
    ``never``. At the end of an epoch it is saved anyway."""
    max_attempts: int = Field(3, ge=1, le=100)
    """How often a job is tried before it counts as failed; every attempt costs."""

    @model_validator(mode="after")
    def _has_a_reference(self) -> ResourcesConfig:
        if self.equivalent and self.device_kind is None:
            raise ValueError("equivalent: give device_kind, too: the model in whose hours the others are counted")
        if self.device_kind in self.equivalent:
            raise ValueError(f"equivalent: {self.device_kind} is device_kind itself; leave it out")
        if self.equivalent and self.device == "cpu":
            raise ValueError("equivalent: only models of GPU can be declared, and device is cpu; leave it out")
        return self

    @property
    def checkpoint_every_s(self) -> float | None:
        """``checkpoint_every`` in seconds; None: never."""
        return None if self.checkpoint_every == NEVER else parse_hours(self.checkpoint_every) * HOUR_S

    @property
    def equivalence(self) -> Equivalence:
        """What hours on other models than ``device_kind`` count as."""
        models = (
            Equivalent(name, float(said["hours"]), float(said["low"]), float(said["high"]), str(said["source"]))
            for name, said in self.equivalent.items()
        )
        return Equivalence(str(self.device_kind), tuple(models)) if self.equivalent else Equivalence()

    @property
    def gpu_models(self) -> frozenset[str]:
        """The models of GPU that may be used; empty if none is named, so that the only one there is used."""
        return frozenset({*([] if self.device_kind is None else [self.device_kind]), *self.equivalent})

    def shape(self, phase: Phase, device: str) -> JobShape:
        """What a job of the phase holds on ``cpu`` or ``cuda``.

        Raises:
            InputError: workers and devices do not fit each other, or several were given where one works.

        """
        devices, is_named = _of_phase(self.devices_per_job, phase)
        given, workers_named = _of_phase(self.workers_per_job or 1, phase)
        if phase not in SHARED_PHASES and device == "cuda" and not is_named:
            devices = min(1.0, devices)
        workers = given if phase in SHARED_PHASES or workers_named else 1
        if device == "cuda" and (self.workers_per_job is None or (phase not in SHARED_PHASES and not workers_named)):
            workers = max(1, int(devices))
        shape = JobShape(devices, self.cpus_per_job * max(1, int(devices)), int(workers))
        if (problem := _problem(shape, phase, device)) is not None:
            raise InputError(f"resources.{problem}")
        return shape

    def shapes(self, device: str) -> dict[Phase, JobShape]:
        """What the jobs of every phase hold; raises as :meth:`shape`."""
        return {phase: self.shape(phase, device) for phase in HELD_PHASES}


def _of_phase(value: float | Mapping[PhaseName, float] | Mapping[PhaseName, int], phase: Phase) -> tuple[float, bool]:
    """The number for the phase, and whether the config names the phase."""
    if isinstance(value, int | float):
        return value, False
    found = [number for name, number in value.items() if name == phase]
    return (found[0], True) if found else (1, False)


def _problem(shape: JobShape, phase: Phase, device: str) -> str | None:
    devices, workers = shape.devices, shape.workers
    held = f"devices_per_job: {devices:g} given for {phase}"
    if phase not in SHARED_PHASES and (workers > 1 or (device == "cuda" and devices > 1)):
        what = f"workers_per_job: {workers} given for {phase}" if workers > 1 else held
        return f"{what}, whose jobs one worker does; only {', '.join(SHARED_PHASES)} can have several"
    if device == "cuda":
        if devices > 1 and not devices.is_integer():
            return f"{held}; a job has a share of one GPU, such as 0.5, or whole ones, such as {int(devices)}"
        if workers != max(1, int(devices)):
            return f"workers_per_job: {workers} given for {phase} on {devices:g} GPUs; each GPU has one worker: leave it out"
    elif workers > 1 and devices % workers:
        return f"{held}, which {workers} workers cannot divide evenly; give a multiple of {workers} cores"
    return None
