"""A cost view at other rates than the declared ones: as it was held, or at the ends of the declared ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

from accounting.cost.attempts import device_kind_of
from accounting.cost.equivalence import mean_rate, rates_of
from accounting.cost.values import Attempt, CostView, StartUp
from accounting.words.names import DeviceKind


def as_held(view: CostView) -> CostView:
    """The view in hours as they were held on each model."""
    return at_rates(view, {})


def at_ends(view: CostView) -> list[CostView]:
    """The view at every combination of the ends of the ranges of those declared models that attempts held."""
    names = {d.device: d.name for session in view.sessions for d in session.capacity}
    held = {names.get(device) for attempt in view.attempts for device in attempt.devices}
    models = [each for each in view.equivalence.models if each.model in held and each.low < each.high]
    if not models:
        return []
    ends = product(*((each.low, each.high) for each in models))
    stated = view.equivalence.rates
    return [at_rates(view, stated | {m.model: rate for m, rate in zip(models, end, strict=True)}) for end in ends]


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


class _Change:
    """From the view's declared rates to others."""

    def __init__(self, view: CostView, by_model: Mapping[str, float]) -> None:
        devices = [device for session in view.sessions for device in session.capacity]
        self._old, self._new = rates_of(devices, view.equivalence.rates), rates_of(devices, by_model)
        self._kinds: dict[str, DeviceKind] = {device.device: device.device_kind for device in devices}
        self._of_session = {session.session: session.capacity for session in view.sessions}

    def of_attempt(self, held: Attempt) -> Attempt:
        by = self._factor(held)
        if by == 1.0:
            return held
        return replace(
            held,
            allocated_s=held.allocated_s * by,
            productive_s=held.productive_s * by,
            overhead_s=held.overhead_s * by,
            lost_s=held.lost_s * by,
            uncertainty_s=held.uncertainty_s * by,
        )

    def of_startup(self, held: StartUp) -> StartUp:
        by = self._factor(held)
        return replace(held, allocated_s=held.allocated_s * by, uncertainty_s=held.uncertainty_s * by)

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
