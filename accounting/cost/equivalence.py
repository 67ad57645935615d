"""How many hours of a study's reference GPU model an hour of another model counts as, where a study has declared it.

The declaration is in ``session_opened`` (``equivalent``); the latest one counts. Device-seconds are converted where the
amount of devices that an attempt held is added up (:func:`accounting.cost.attempts.held_by`), so whatever is derived from
a ledger is in hours of the reference. Records, and the balances of an audit, have device-seconds as they were held. A
study that declares nothing has no rates, and a device whose model is not declared, or unknown, counts as it was held.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accounting.cost.evidence import Evidence
    from accounting.cost.values import Device


@dataclass(frozen=True)
class Equivalent:
    """An hour of ``model`` counts as ``hours`` hours of the reference, and certainly as ``low`` to ``high``."""

    model: str
    hours: float
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class Equivalence:
    """The reference model and the models that may be held besides; without any, nothing is declared."""

    reference: str = ""
    models: tuple[Equivalent, ...] = ()

    @property
    def rates(self) -> dict[str, float]:
        """By model: hours of the reference that an hour of it counts as."""
        return {each.model: each.hours for each in self.models}

    def covers(self, models: Iterable[str]) -> bool:
        """Whether hours on all of these models can be added up."""
        return bool(self.models) and set(models) <= {self.reference, *self.rates}

    def ends(self, models: Collection[str]) -> list[dict[str, float]]:
        """The rates at every combination of the ends of these models' ranges; empty if none of them has a range."""
        ranged = [each for each in self.models if each.model in models and each.low < each.high]
        corners = product(*((each.low, each.high) for each in ranged)) if ranged else ()
        return [
            self.rates | {each.model: rate for each, rate in zip(ranged, corner, strict=True)} for corner in corners
        ]

    def at(self, rates: Mapping[str, float]) -> Equivalence:
        """The same models at exactly these rates, or at 1."""
        at_rate = [
            replace(m, hours=rate, low=rate, high=rate) for m in self.models for rate in [rates.get(m.model, 1.0)]
        ]
        return replace(self, models=tuple(at_rate))

    def as_dict(self) -> dict[str, object]:
        """In the form of the ledger and of JSON."""
        models = {
            each.model: {"hours": each.hours, "low": each.low, "high": each.high, "source": each.source}
            for each in self.models
        }
        return {"reference": self.reference, "models": models}

    @staticmethod
    def read(said: object) -> Equivalence:
        """A declaration from a ledger; one that is garbled declares nothing, so that the models count as mixed."""
        models = said.get("models") if isinstance(said, Mapping) else None
        if (
            not isinstance(said, Mapping)
            or not isinstance(models, Mapping)
            or not isinstance(said.get("reference"), str)
        ):
            return NOTHING_DECLARED
        found = []
        for model, of_it in models.items():
            numbers = (
                [_number(of_it.get(key)) for key in ("low", "hours", "high")] if isinstance(of_it, Mapping) else []
            )
            if not numbers or 0.0 in numbers or numbers != sorted(numbers):
                return NOTHING_DECLARED
            low, hours, high = numbers
            found.append(Equivalent(str(model), hours, low, high, str(of_it.get("source", "no source given"))))
        return Equivalence(str(said["reference"]), tuple(found))


NOTHING_DECLARED = Equivalence()


@dataclass(frozen=True)
class Moved:
    """The GPU-hours that a study held, at the declared rates, and the fewest and the most at the ends of their ranges."""

    hours: float
    low: float
    high: float


def equivalence_in(evidence: Evidence) -> Equivalence:
    """What the latest session that declares anything declares."""
    said = [record for record in evidence.session_opened.values() if "equivalent" in record]
    return Equivalence.read(max(said, key=lambda record: record["t"])["equivalent"]) if said else NOTHING_DECLARED


def rates_of(devices: Iterable[Device], by_model: Mapping[str, float]) -> dict[str, float]:
    """The rates of those GPUs whose models have one, by device."""
    if not by_model:
        return {}
    return {d.device: by_model[d.name] for d in devices if d.device_kind == "cuda" and d.name in by_model}


def mean_rate(devices: Iterable[Device], rates: Mapping[str, float]) -> float:
    """The mean rate of the GPUs among these devices, for a holding that does not say which it held."""
    gpus = [device for device in devices if device.device_kind == "cuda"]
    whole = sum(device.amount for device in gpus)
    return sum(device.amount * rates.get(device.device, 1.0) for device in gpus) / whole if rates and whole > 0 else 1.0


def equivalence_text(equivalence: Equivalence) -> str:
    """One sentence on what hours on other models than the reference count as; empty if nothing is declared."""
    parts = [
        f"hours on {each.model} count as {each.hours:g} ({each.low:g} to {each.high:g}) hours on {equivalence.reference}: "
        f"{each.source}"
        for each in equivalence.models
    ]
    return "; ".join(parts)


def rates_texts(equivalence: Equivalence, moved: Moved | None) -> list[str]:
    """What hours on other models count as, and how far the ends of the ranges move results; empty if nothing is declared."""
    if not equivalence.models:
        return []
    return [equivalence_text(equivalence), *([] if moved is None else [_moved_text(moved)])]


def rates_sentences(equivalence: Equivalence, moved: Moved | None) -> list[str]:
    """The same as whole sentences."""
    return [f"{text[0].upper()}{text[1:]}." for text in rates_texts(equivalence, moved)]


def _moved_text(moved: Moved) -> str:
    return (
        f"numbers are at the declared rates where no other range is given with them; at the ends of the declared ranges the "
        f"study's {moved.hours:.3g} GPU-hours are {moved.low:.3g} to {moved.high:.3g}"
    )


def _number(value: object) -> float:
    """The number if it is above 0; otherwise 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0
    return float(value) if is_number else 0.0  # type: ignore[arg-type]
