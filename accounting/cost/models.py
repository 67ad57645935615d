"""Which GPU models a study held. Hours on different models are not comparable, so they are never added up.

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


def mixture(view: CostView) -> str | None:
    """:func:`models_text` of the GPU models held; None if there was at most one."""
    hours = gpu_hours_by_model(view)
    return models_text(hours) if len(hours) > 1 else None


def models_text(hours: Mapping[str, float]) -> str:
    """Half a sentence that names several GPU models and the hours for which each was held."""
    told = [f"{name} ({held:.3g} h)" for name, held in hours.items()]
    return f"GPUs of {len(hours)} models were held: {', '.join(told[:-1])} and {told[-1]}"
