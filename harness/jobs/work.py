"""What a job does: one of a few types, each with a function in :mod:`harness.work.attempt`."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.ledger.specs import HalfName
from accounting.words.methods import Method
from harness.config.recipe import Recipe


@dataclass(frozen=True)
class PruneRule:
    """How a network is pruned; the fields are as in :class:`harness.config.blocks.PruneConfig`."""

    method: Method
    target_macs: int
    floor: float = 0.0
    channel_floor: float = 0.0
    round_to: int = 1
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gradually:
    """Gradual pruning: from ``start_macs`` down to the rule's target, reached after the share ``end`` of the training."""

    rule: PruneRule
    start_macs: int
    end: float


@dataclass(frozen=True)
class Train:
    """Train with a recipe, to the end of its schedule or until ``stop_epoch``; masked weights stay zero.

    ``leaves_state``: whether another job can continue from there (:class:`harness.jobs.start.StateOf`).
    """

    recipe: Recipe
    stop_epoch: int | None = None
    gradually: Gradually | None = None
    leaves_state: bool = False


@dataclass(frozen=True)
class RangeTest:
    """Try learning rates around the recipe's for one epoch, a new rate for each batch; the network is discarded."""

    recipe: Recipe


@dataclass(frozen=True)
class TrainSupernet:
    """Train shared weights: each update uses the largest member, the smallest and two random ones.

    Raises ValueError for a recipe with ``compile``: every pass runs another network.
    """

    recipe: Recipe

    def __post_init__(self) -> None:
        if self.recipe.compile:
            raise ValueError("a supernet's training cannot be compiled, and compile is true; set it to false")


@dataclass(frozen=True)
class Prune:
    """Remove weights, channels or blocks, without training."""

    rule: PruneRule


@dataclass(frozen=True)
class Score:
    """Measure the validation accuracy of members, with the weights that they inherit.

    A member of a supernet is given by its choices; a part of any other network by its widths and blocks
    (:mod:`accounting.ledger.parts`). ``half`` says which half of the validation split is used; None: all of it.
    """

    archs: tuple[tuple[int, ...], ...]
    half: HalfName | None = None


@dataclass(frozen=True)
class Scan:
    """Measure accuracy after pruning to each sparsity (share of the weights, 0-1), by layer role and criterion."""

    sparsities: tuple[float, ...]
    criteria: tuple[str, ...]


@dataclass(frozen=True)
class Deliver:
    """Evaluate once on the test split and write the network's folder; ``parent`` says where the network came from."""

    label: str
    description: str
    parent: str | None = None
    target_latency_ms: float | None = None


@dataclass(frozen=True)
class Export:
    """Add a file format or a measurement (``kind``, a key of ``export`` in a config) to a delivered network's folder."""

    kind: str
    delivery: Deliver


def is_compiled(work: Work) -> bool:
    """Whether the work trains a network that is compiled first."""
    return isinstance(work, Train) and work.recipe.compile and work.recipe.epochs > 0


Training = Train | RangeTest | TrainSupernet
"""Work that trains by a recipe."""
SharedWork = Train | TrainSupernet | Score
"""Work that several workers can share."""
Work = Train | RangeTest | TrainSupernet | Prune | Score | Scan | Deliver | Export
