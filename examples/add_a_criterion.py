"""A pruning criterion of your own: one method, one score per weight, the lowest go first."""

import timm
import torch

from pruning import ScoreContext, prune_to_macs


class CentredMagnitude:
    """Distance of each weight from the mean of its layer."""

    needs_gradients = False

    def scores(self, weight: torch.Tensor, context: ScoreContext) -> torch.Tensor:
        """Return one score per weight, of the weight's shape, at least 0; higher means keep."""
        return (weight - weight.mean()).abs().float()


model = timm.create_model("mobilenetv3_small_050", num_classes=10).eval()
result = prune_to_macs(model, (3, 32, 32), 500_000, criterion=CentredMagnitude())
print(f"{result.macs:,} MACs with a criterion of our own")
assert 0 < result.macs <= 500_000
