"""A cost view at other rates than the declared ones: as it was held, or at the ends of the declared ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from accounting.cost.attempts import device_kind_of
from accounting.cost.equivalence import Moved, mean_rate, rates_of
from accounting.cost.values import Attempt, CostView, StartUp
from accounting.words.names import DeviceKind
from accounting.words.quantities import HOUR_S

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Held = TypeVar("Held", bound="DataclassInstance")
STARTUP_SECONDS = ("allocated_s", "uncertainty_s")
ATTEMPT_SECONDS = (*STARTUP_SECONDS, "productive_s", "overhead_s", "lost_s")
"""The fields of start-ups and attempts that are in device-seconds."""


def as_held(view: CostView) -> CostView:
    """The view in hours as they were held on each model."""
    return at_rates(view, {})


def at_ends(view: CostView) -> list[CostView]:
    """The view at every combination of the ends of the ranges of those declared models that attempts held."""
    names = {d.device: d.name for session in view.sessions for d in session.capacity}
    held = {names.get(device, "") for attempt in view.attempts for device in attempt.devices}
    return [at_rates(view, rates) for rates in view.equivalence.ends(held)]


def moved_by_ends(view: CostView) -> Moved | None:
    """How far the ends of the declared ranges move the GPU-hours that were held; None if they move none."""
    ends = [_gpu_hours(end) for end in at_ends(view)]
    return Moved(_gpu_hours(view), min(ends), max(ends)) if ends else None


def _gpu_hours(view: CostView) -> float:
    held: tuple[Attempt | StartUp, ...] = (*view.attempts, *view.startups)
    return sum(one.allocated_s for one in held if one.device_kind == "cuda") / HOUR_S


def at_rates(view: CostView, by_model: Mapping[str, float]) -> CostView:
    """The view as if exactly these were the declared rates; declared models without one count as they were held."""
    if not view.equivalence.models:
        return view
    change = _Change(view, by_model)
    return replace(
        view,
        attempts=tuple(change.of_attempt(attempt) for attempt in view.attempts),
        startups=tuple(change.of_startup(start) for start in view.startups),
        equivalence=view.equivalence.at(by_model),
    )


def scaled(held: Held, by: float, seconds: Iterable[str]) -> Held:
    """The same value with each of these fields, which are in device-seconds, multiplied."""
    return held if by == 1.0 else replace(held, **{name: getattr(held, name) * by for name in seconds})


class _Change:
    """From the view's declared rates to others."""

    def __init__(self, view: CostView, by_model: Mapping[str, float]) -> None:
        devices = [device for session in view.sessions for device in session.capacity]
        self._old, self._new = rates_of(devices, view.equivalence.rates), rates_of(devices, by_model)
        self._kinds: dict[str, DeviceKind] = {device.device: device.device_kind for device in devices}
        self._of_session = {session.session: session.capacity for session in view.sessions}

    def of_attempt(self, held: Attempt) -> Attempt:
        return scaled(held, self._factor(held), ATTEMPT_SECONDS)

    def of_startup(self, held: StartUp) -> StartUp:
        return scaled(held, self._factor(held), STARTUP_SECONDS)

    def _factor(self, held: Attempt | StartUp) -> float:
        if held.device_kind != "cuda":
            return 1.0
        if not held.devices:
            devices = self._of_session.get(held.session, ())
            return mean_rate(devices, self._new) / mean_rate(devices, self._old)
        gpus = {d: amount for d, amount in held.devices.items() if device_kind_of(d, self._kinds) == "cuda"}
        old = sum(amount * self._old.get(device, 1.0) for device, amount in gpus.items())
        new = sum(amount * self._new.get(device, 1.0) for device, amount in gpus.items())
        return new / old if old > 0 else 1.0
