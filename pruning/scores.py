"""Scoring all weights of some layers with a criterion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pruning.criteria import load_criterion
from pruning.criterion import Criterion, ScoreContext
from pruning.gradients import Batches, mean_gradients
from pruning.layers import Layer
from pruning.select import keys_of


def resolve(criterion: str | Criterion) -> tuple[Criterion, str]:
    """The criterion and its name, from either; raises ValueError on an unknown name."""
    if isinstance(criterion, str):
        return load_criterion(criterion), criterion
    return criterion, type(criterion).__name__


def score_layers(
    model: nn.Module, layers: Sequence[Layer], rule: Criterion, label: str, seed: int, batches: Batches | None
) -> Iterator[Tensor]:
    """Scores of all weights, shaped as they are, layer by layer; the layers must have a weight of their own.

    Raises:
        ValueError: the criterion needs batches, and there are none.

    """
    gradients: dict[str, Tensor] = {}
    if rule.needs_gradients:
        if batches is None:
            raise ValueError(f"criterion {label!r} needs batches of (images, labels)")
        gradients = mean_gradients(model, batches)
    for i, layer in enumerate(layers):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        context = ScoreContext(layer.macs_per_weight, generator, gradients.get(layer.param_name))
        yield rule.scores(layer.own_weight, context)


def score_keys(
    model: nn.Module, layers: Sequence[Layer], rule: Criterion, label: str, seed: int, batches: Batches | None
) -> list[Tensor]:
    """Keys (see :mod:`pruning.select`) of all weights, flat, one tensor per layer; of tied ones by their mean score.

    Raises:
        ValueError: missing batches, or scores that have no order; the message names criterion and layer.

    """
    keys = []
    for layer, scores in zip(layers, score_layers(model, layers, rule, label, seed, batches), strict=True):
        weight = layer.own_weight
        if layer.num_tied > 1:
            scores, weight = scores.mean(0), (weight != 0).any(0)
        try:
            keys.append(keys_of(scores, weight))
        except ValueError as error:
            raise ValueError(f"criterion {label!r} on {layer.param_name!r}: {error}") from error
    return keys
