"""Which GPU models a study held. Hours on different models are not comparable, so they are never added up undeclared.

The model is the name that the driver gives a device, as in a session's capacity. Devices whose name is in no session (in old
ledgers, or known only from an attempt) are of unknown model and count for none. CPU cores are not distinguished.
"""

from __future__ import annotations

from collections.abc import Mapping

from accounting.cost.values import Attempt, CostView, StartUp
from accounting.words.quantities import HOUR_S


def gpu_hours_by_model(view: CostView) -> dict[str, float]:
    """Device-hours held by attempts and start-ups on each model, in descending order."""
    names = {(session.session, d.device): d.name for session in view.sessions for d in session.capacity}
    anywhere = {d.device: d.name for session in view.sessions for d in session.capacity}
    found: dict[str, float] = {}
    everything: list[Attempt | StartUp] = [*view.attempts, *view.startups]
    for held in everything:
        if held.device_kind == "cuda":
            for device, amount in held.devices.items():
                model = names.get((held.session, device)) or anywhere.get(device, "")
                if model:
                    found[model] = found.get(model, 0.0) + amount * (held.end_t - held.begin_t) / HOUR_S
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def mixed_hours(view: CostView) -> dict[str, float]:
    """:func:`gpu_hours_by_model` if hours of several models were added up without a declared equivalence; otherwise empty.

    A study that declares one may hold its reference and the declared models, and no other.
    """
    hours = gpu_hours_by_model(view)
    is_fine = view.equivalence.covers(hours) if view.equivalence.models else len(hours) < 2
    return {} if is_fine else hours


def mixture(view: CostView) -> str | None:
    """:func:`models_text` of :func:`mixed_hours`; None if there are none."""
    hours = mixed_hours(view)
    return models_text(hours) if hours else None


def models_text(hours: Mapping[str, float]) -> str:
    """Half a sentence that names several GPU models and the hours for which each was held."""
    told = [f"{name} ({held:.3g} h)" for name, held in hours.items()]
    if len(told) == 1:
        return f"GPUs of a model without a declared equivalence were held: {told[0]}"
    return f"GPUs of {len(hours)} models were held: {', '.join(told[:-1])} and {told[-1]}"
