"""What a job does, as one of a few types; :mod:`harness.work.attempt` has a function for each."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.ledger.specs import HalfName
from accounting.words.methods import Method
from harness.config.recipe import Recipe


@dataclass(frozen=True)
class PruneRule:
    """How a network is pruned; the fields are those of :class:`harness.config.routes.PruneConfig`."""

    method: Method
    target_macs: int
    floor: float = 0.0
    channel_floor: float = 0.0
    round_to: int = 1
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gradually:
    """Pruning from ``start_macs`` on, at its rule's target once the share ``end`` of the training is over."""

    rule: PruneRule
    start_macs: int
    end: float


@dataclass(frozen=True)
class Train:
    """Train by a recipe, to the end of its schedule or until ``stop_epoch``; zeros that it starts from stay zeros.

    ``leaves_state``: whether another job can continue it from there (:class:`harness.jobs.start.StateOf`).
    """

    recipe: Recipe
    stop_epoch: int | None = None
    gradually: Gradually | None = None
    leaves_state: bool = False


@dataclass(frozen=True)
class RangeTest:
    """Try learning rates around the recipe's, each for one batch, for one epoch; the network is thrown away."""

    recipe: Recipe


@dataclass(frozen=True)
class TrainSupernet:
    """Train shared weights: at every update the largest member, the smallest and two at random."""

    recipe: Recipe


@dataclass(frozen=True)
class Prune:
    """Take weights, channels or blocks away; no training."""

    rule: PruneRule


@dataclass(frozen=True)
class Score:
    """Validation accuracy of members, with the weights that they inherit.

    Of a supernet a member is its choices; of any other network its widths and blocks (:mod:`accounting.ledger.parts`).
    ``half``: on which images of the validation split; all of them where there is none.
    """

    archs: tuple[tuple[int, ...], ...]
    half: HalfName | None = None


@dataclass(frozen=True)
class Scan:
    """Accuracy after pruning to each sparsity (share 0-1 of the weights), role by role and by each criterion."""

    sparsities: tuple[float, ...]
    criteria: tuple[str, ...]


@dataclass(frozen=True)
class Deliver:
    """Read the test split once and write the network's folder; ``parent`` says where the network is from."""

    label: str
    description: str
    parent: str | None = None
    target_latency_ms: float | None = None


@dataclass(frozen=True)
class Export:
    """Add a file format or a measurement (``kind``, a key of ``export`` in a config) to a delivered network's folder."""

    kind: str
    delivery: Deliver


Work = Train | RangeTest | TrainSupernet | Prune | Score | Scan | Deliver | Export
