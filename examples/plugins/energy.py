"""A pruning criterion of your own: a config names it as ``criterion: global_energy`` (or ``uniform_``, ``channels_``, …)."""

from torch import Tensor

from pruning.criterion import ScoreContext


class Criterion:
    """Squared weights per MAC."""

    needs_gradients = False

    def scores(self, weight: Tensor, context: ScoreContext) -> Tensor:
        """Give one score per weight; the lowest are pruned first."""
        return weight.detach().float() ** 2 / context.macs_per_weight
