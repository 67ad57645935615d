"""The devices that a study is planned for, by model, and what an hour on each counts as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pool:
    """``amount`` devices of one ``model``, of which an hour counts as ``rate`` hours of the study's reference model."""

    amount: float
    rate: float = 1.0
    model: str = ""


ONE_DEVICE = (Pool(1.0),)


def pools_of(amounts: Mapping[str, float], rates: Mapping[str, float]) -> tuple[Pool, ...]:
    """One pool for each model, the quickest first; a model without a rate counts as it is."""
    pools = (Pool(amount, rates.get(model, 1.0), model) for model, amount in amounts.items())
    return tuple(sorted(pools, key=lambda pool: -pool.rate))


def amounts_of(devices: Iterable[tuple[str, float]]) -> dict[str, float]:
    """How many devices there are of each model, from (model, amount)."""
    found: dict[str, float] = {}
    for model, amount in devices:
        found[model] = found.get(model, 0.0) + amount
    return found
