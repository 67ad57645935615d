"""Scoring all weights of given layers with a criterion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from accounting.study import plugins
from accounting.words.plain_text import typed_line
from pruning.criteria import load_criterion
from pruning.criterion import Criterion, ScoreContext
from pruning.gradients import Batches, mean_gradients
from pruning.layers import Layer
from pruning.select import keys_of


class CriterionFails(ValueError):
    """A criterion raised an error or gave something other than scores, and would do so again on the same weights."""


def resolve(criterion: str | Criterion) -> tuple[Criterion, str]:
    """The criterion and its name, given either of them; raises ``ValueError`` for an unknown name."""
    if isinstance(criterion, str):
        return load_criterion(criterion), criterion
    return criterion, type(criterion).__name__


def score_layers(
    model: nn.Module, layers: Sequence[Layer], rule: Criterion, label: str, seed: int, batches: Batches | None
) -> Iterator[Tensor]:
    """Yield the scores of all weights, in their shape, layer by layer; the layers must have a weight of their own.

    Raises:
        ValueError: the criterion needs batches, and none were given.
        CriterionFails: it raised or gave something other than scores; the message names criterion, file and layer.

    """
    gradients: dict[str, Tensor] = {}
    if rule.needs_gradients:
        if batches is None:
            raise ValueError(f"criterion {label!r} needs batches of (images, labels)")
        gradients = mean_gradients(model, batches)
    for i, layer in enumerate(layers):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        context = ScoreContext(layer.macs_per_weight, generator, gradients.get(layer.param_name))
        try:
            yield scores_of(rule, layer.own_weight, context)
        except CriterionFails as error:
            raise CriterionFails(f"{named(label)} on {layer.param_name!r} {error}") from error


def score_keys(
    model: nn.Module, layers: Sequence[Layer], rule: Criterion, label: str, seed: int, batches: Batches | None
) -> list[Tensor]:
    """Keys (see :mod:`pruning.select`) of all weights, one flat tensor per layer; tied weights have their mean score.

    Raises:
        ValueError: the criterion needs batches, and none were given.
        CriterionFails: as in :func:`score_layers`, or the scores cannot be ordered.

    """
    keys = []
    for layer, scores in zip(layers, score_layers(model, layers, rule, label, seed, batches), strict=True):
        weight = layer.own_weight
        if layer.num_tied > 1:
            scores, weight = scores.mean(0), (weight != 0).any(0)
        try:
            keys.append(keys_of(scores, weight))
        except ValueError as error:
            raise CriterionFails(f"{named(label)} on {layer.param_name!r}: {error}") from error
    return keys


@torch.no_grad()
def scores_of(rule: Criterion, weight: Tensor, context: ScoreContext) -> Tensor:
    """The scores of one layer's weights: float32, in their shape and on their device.

    An error that may pass, such as a lack of memory, is raised unchanged.

    Raises:
        CriterionFails: the criterion did something else; the message says what, as the end of a sentence.

    """
    try:
        scores = rule.scores(weight, context)
    except Exception as error:
        if plugins.may_pass(error):
            raise
        raise CriterionFails(f"fails: {typed_line(error)}{plugins.line_text(error)}") from error
    shape = tuple(weight.shape)
    if not isinstance(scores, Tensor):
        raise CriterionFails(f"gives a {type(scores).__name__}; a tensor of one score per weight is needed")
    if scores.shape != weight.shape:
        raise CriterionFails(
            f"gives scores of shape {tuple(scores.shape)} for weights of {shape}; one score per weight is needed"
        )
    if scores.dtype != torch.float32:
        raise CriterionFails(f"gives scores of {scores.dtype}; torch.float32 is needed")
    if scores.device != weight.device:
        raise CriterionFails(f"gives scores on {scores.device} for weights on {weight.device}; keep them there")
    return scores


def named(label: str) -> str:
    """A criterion's name for error messages, with its file if that is a user's own."""
    file = plugins.file_of(plugins.Kind.CRITERION, label)
    return f"criterion {label!r}" if file is None else f"criterion {label!r} of {file.path}"
