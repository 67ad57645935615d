"""A space in which everything is elastic, and the weights that a member inherits from a supernet on it."""

from torch import nn

from nas_baseline.spaces.declared import StageSpace
from nas_baseline.spaces.networks import build


def declared(**changes):
    """A space in which everything is elastic at once, small enough to train in an instant."""
    return StageSpace({
        "name": "small", "image_size": 16, "in_chans": 3, "num_classes": 4, "head_bias": False, "width_divisor": 2,
        "act": "relu", "stem": {"width": [6, 8]},
        "stages": [
            {"type": "ds", "stride": 1, "kernel": [1, 3], "depth": [1, 2], "width": [6, 8], "se": [0, 0.5]},
            {"type": "ir", "stride": 2, "kernel": [3, 5], "kernel_rest": [3, 7], "expansion": [1, 2.5],
             "expansion_rest": [2, 3], "depth": [1, 3], "width": [8, 12], "se": [0, 0.25]},
        ],
        "head": {"expansion": 2, "features": [16, 24]},
        "recipe": {"optimizer": ["sgd"], "lr": [0.1, 0.2], "dropout": [0, 0.5], "drop_path": [0, 0.5]},
    } | changes)  # fmt: skip


def norms_of(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def inherited(supernet, arch):
    network = build(supernet.space.network_spec(arch))
    network.load_state_dict(supernet.extract(arch), strict=True)
    return network
