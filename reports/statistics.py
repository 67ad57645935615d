"""Means, paired differences and cost ratios with 95 % t-intervals. Pure functions; results can be checked by hand.

All intervals are two-sided Student t-intervals over replicates. They assume independent replicates and a roughly normal
mean. With n = 1 there is no interval (``low`` and ``high`` are ``None``); it is never guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

from accounting.words.json_values import Fields
from reports.distributions import t_both_tails, t_quantile

CONFIDENCE = 0.95


Cell: TypeAlias = str | float | int | None
"""A value in a table."""


@dataclass(frozen=True)
class Ends:
    """How far a value goes over the ranges of declared rates, and how far its intervals go; None: no interval."""

    low: float
    high: float
    interval_low: float | None = None
    interval_high: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """The four fields, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Estimate:
    """A value over ``n`` replicates. ``low`` and ``high`` bound the 95 % interval, ``sd`` is the spread; None if n < 2.

    ``ends`` is set if the value depends on what hours on other GPU models count as (:mod:`reports.compare.at_ends`).
    """

    value: float | None
    low: float | None
    high: float | None
    sd: float | None
    n: int
    ends: Ends | None = None

    @property
    def has_interval(self) -> bool:
        """Whether there were at least two replicates."""
        return self.low is not None and self.high is not None

    def as_dict(self) -> Fields:
        """The five numbers, for JSON, and ``at_rate_ends`` if there are such ends."""
        ends: Fields = {} if self.ends is None else {"at_rate_ends": {**self.ends.as_dict()}}
        return {**self._numbers, **ends}

    def columns(self, name: str) -> dict[str, Cell]:
        """The five numbers as columns of a table: ``name``, ``name_low``, ``name_high``, ``name_sd``, ``name_n``."""
        return {name if key == "value" else f"{name}_{key}": value for key, value in self._numbers.items()}

    @property
    def _numbers(self) -> dict[str, float | int | None]:
        return {"value": self.value, "low": self.low, "high": self.high, "sd": self.sd, "n": self.n}


NOTHING = Estimate(None, None, None, None, 0)
"""The estimate without any replicate."""


def mean_interval(values: Sequence[float], at_least: float = -math.inf, at_most: float = math.inf) -> Estimate:
    """Arithmetic mean of ``values`` with ``mean ± t(0.975, n-1) * sd / sqrt(n)``; ``sd`` divides by n - 1.

    The bounds are clipped to ``at_least`` and ``at_most``, the possible values (a cost is not negative, a share at most 1).
    """
    n = len(values)
    if n == 0:
        return NOTHING
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, None, None, 1)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * sd / math.sqrt(n)
    return Estimate(mean, max(mean - half, at_least), min(mean + half, at_most), sd, n)


def mean_p_value(values: Sequence[float]) -> float | None:
    """Two-sided p-value (Student's t) of a mean of 0; None if n < 2."""
    found = mean_interval(values)
    if found.value is None or found.sd is None:
        return None
    if found.sd == 0:
        return 1.0 if found.value == 0 else 0.0
    return t_both_tails(found.value * math.sqrt(found.n) / found.sd, found.n - 1)


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Estimate:
    """Mean of ``first[r] - second[r]`` over the replicates ``r`` in both."""
    return mean_interval([first[key] - second[key] for key in sorted(first.keys() & second.keys())])


def ratio_interval(numerator: Mapping[int, float], denominator: Mapping[int, float]) -> Estimate:
    """Geometric mean of ``numerator[r] / denominator[r]``, paired by replicate; the interval is computed on logarithms.

    ``sd`` is the standard deviation of the natural logarithm of the ratio. All values must be positive: if any is not, the
    whole estimate is :data:`NOTHING`, since leaving out that replicate would bias it.
    """
    pairs = [(numerator[key], denominator[key]) for key in sorted(numerator.keys() & denominator.keys())]
    if any(top <= 0 or bottom <= 0 for top, bottom in pairs):
        return NOTHING
    logs = mean_interval([math.log(top / bottom) for top, bottom in pairs])
    return Estimate(_exp(logs.value), _exp(logs.low), _exp(logs.high), logs.sd, logs.n)


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(min(value, 700.0))
