"""Weight sharing: the default search over scores that networks get with the weights of one trained supernet.

Once-for-All (arXiv 1908.09791, section 3.4) and BigNAS (arXiv 2003.11142, section 3.2): candidates inherit weights, so
a trial costs seconds. The caller trains ``nas_baseline.supernet.supernet.Supernet`` once and tells as values the validation
accuracies of extracted networks with batch norm recalibrated; the search is ``predictor_evolution`` in larger batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nas_baseline.proposing.batch_strategy import Targets
from nas_baseline.spaces.base import SearchSpace
from nas_baseline.strategies import predictor_evolution


@dataclass(frozen=True)
class Options(predictor_evolution.Options):
    """Settings of ``predictor_evolution``; batches are larger since a trial is one score."""

    first_batch: int = 32
    batch: int = 16


class Strategy(predictor_evolution.Strategy):
    """``num_trials`` counts scored networks."""

    shares_weights: ClassVar[bool] = True
    """Values are scores with inherited weights: the caller trains one supernet before the first trial."""

    def __init__(
        self, space: SearchSpace, seed: int, num_trials: int, max_macs: Targets, options: Options | None = None
    ) -> None:
        super().__init__(space, seed, num_trials, max_macs, options or Options())
