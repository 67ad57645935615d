"""The parts of a study's parent from which sub-networks are made; found once, before anything is paid for."""

from __future__ import annotations

import json
from functools import cache

import torch

from accounting.ledger.parts import Parts
from accounting.ledger.specs import NetworkSpec
from harness.models.build import build_network
from pruning.subnets import Subnets


def parts_of(network: NetworkSpec, image_shape: tuple[int, int, int]) -> Parts:
    """The parts of a network that can be chosen; they do not depend on its weights.

    torch's random state is not changed.

    Raises:
        NotFollowed: the network's channels cannot be followed, or a part is not what it was found to be.
        ModuleNotFoundError: Torch-Pruning (extra ``structured``) is not installed.

    """
    return _parts_of(json.dumps(network, sort_keys=True), image_shape)


@cache
def _parts_of(network: str, image_shape: tuple[int, int, int]) -> Parts:
    """The parts, which follow from the spec alone; remembered, since finding them takes seconds."""
    with torch.random.fork_rng(devices=[]):
        subnets = Subnets(build_network(json.loads(network)), image_shape)
    subnets.check()
    return subnets.parts
