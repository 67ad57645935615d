"""Why a question has no answer: a value for each reason. :mod:`reports.answers.refusal_text` has their sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Rehearsal:
    """The study is a rehearsal, in which so many keys of the config were cut: it measures nothing."""

    num_keys_cut: int


@dataclass(frozen=True)
class MixedModels:
    """GPUs of several models were held, whose hours are not comparable; ``hours`` are those of each model."""

    hours: Mapping[str, float]


Unjudged: TypeAlias = Rehearsal | MixedModels
"""Why a study is not judged at all."""


@dataclass(frozen=True)
class NotBelowParent:
    """The target is not below the MACs of the parent, which cannot be pruned to it."""

    parent_macs: int


@dataclass(frozen=True)
class Outside:
    """The target is outside the range of the study's own, and costs are not extrapolated."""

    is_by_latency: bool


@dataclass(frozen=True)
class NotMeasured:
    """The target is between the study's own, and this question cannot be interpolated there."""


@dataclass(frozen=True)
class OffTheLine:
    """Interpolation is off by too much: with a measured target left out, by the factor ``error``."""

    of: Literal["cost ratios", "costs"]
    error: float


@dataclass(frozen=True)
class LacksRoutes:
    """The study lacks routes of the headline's pair, so there is nothing to compare."""

    routes: tuple[str, ...]


@dataclass(frozen=True)
class Delivered:
    """In how many replicates each contender of the pair delivered a network at a target."""

    target: int
    by_contender: Mapping[str, int]


@dataclass(frozen=True)
class SpentBudget:
    """A route's budget, and the most that it spent in a replicate, in device-hours."""

    route: str
    budget_h: float
    spent_h: float


@dataclass(frozen=True)
class Incomplete:
    """The study has not delivered the networks that an answer needs.

    ``lacking`` are the targets concerned, ``spent`` the budgets that stood in the way. ``num_failed`` jobs had failed
    when the study ended; None: it has not ended.
    """

    lacking: tuple[Delivered, ...]
    spent: tuple[SpentBudget, ...]
    num_failed: int | None


@dataclass(frozen=True)
class LargerTarget:
    """A target at which the accuracy may be reached, since the parent, with ``parent_top1``, reaches it."""

    target: int
    parent_top1: float


@dataclass(frozen=True)
class NotReached:
    """No contender reached the accuracy ``level`` often enough.

    ``best`` ends at the highest accuracy, ``best_top1`` (the median). ``epochs`` are those of the config's full trainings.
    """

    level: float
    best: str
    best_top1: float
    larger: LargerTarget | None
    epochs: Mapping[str, int]


@dataclass(frozen=True)
class NeverSpent:
    """No contender spent as many device-hours; ``most_by`` spent the most, ``most_h``.

    ``capped`` are the routes whose budgets were spent; ``epochs`` are those of the config's full trainings.
    """

    budget_h: float
    most_by: str
    most_h: float
    capped: tuple[str, ...]
    epochs: Mapping[str, int]


@dataclass(frozen=True)
class FirstNetwork:
    """The contender that had a network first, and after how many device-hours."""

    label: str
    hours: float


@dataclass(frozen=True)
class NoNetworkYet:
    """No contender has a network for so few device-hours."""

    budget_h: float
    first: FirstNetwork | None


Why: TypeAlias = (
    Unjudged
    | NotBelowParent
    | Outside
    | NotMeasured
    | OffTheLine
    | LacksRoutes
    | Incomplete
    | NotReached
    | NeverSpent
    | NoNetworkYet
)
