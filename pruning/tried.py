"""Whether a criterion gives the scores that :class:`pruning.criterion.Criterion` asks for, tried on a few small tensors.

Without this check, a user's own file would run for the first time in an attempt that costs device time.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from accounting.study import plugins
from accounting.study.limited import TookTooLong, limited
from accounting.words.plain_text import typed_line
from pruning.criteria import load_criterion
from pruning.criterion import Criterion, ScoreContext
from pruning.scores import CriterionFails, named, scores_of

SHAPES = {"a convolution": (6, 4, 3, 3), "a depthwise convolution": (6, 1, 3, 3), "a linear layer": (5, 8)}
"""Shapes of the weights it is tried on: outputs, inputs per group, kernel."""
MACS_PER_WEIGHT = 16
LIMIT_S = 60.0
"""Wall-clock seconds allowed for the scores of one of them."""


def criterion_problem(name: str) -> str | None:
    """What is wrong with a criterion, in one line that names it and its file; None if nothing is.

    It is tried on layers with some zeros and on layers of only zeros, with gradients if it asks for them.
    """
    try:
        rule = load_criterion(name)
    except plugins.PluginError as error:
        return str(error)
    except (Exception, SystemExit) as error:
        return f"{named(name)} cannot be made: {typed_line(error)}{plugins.line_text(error)}"
    if not isinstance(getattr(rule, "needs_gradients", None), bool):
        return f"{named(name)} does not say needs_gradients; set it to True or False in its class"
    for what, weight in _layers():
        try:
            with limited(LIMIT_S):
                problem = _problem(rule, weight)
        except TookTooLong:
            problem = f"has given no scores within {LIMIT_S:g} s; there are {weight.numel()} weights"
        if problem is not None:
            return f"{named(name)} on the weights of {what} {problem}"
    return None


def _layers() -> Iterator[tuple[str, Tensor]]:
    """Yield (description, weights) of each layer to try."""
    generator = torch.Generator().manual_seed(0)
    for what, shape in SHAPES.items():
        weight = torch.randn(shape, generator=generator) / 8
        weight.view(-1)[::7] = 0
        yield what, weight
        yield f"{what} that are all zero", torch.zeros(shape)


def _problem(rule: Criterion, weight: Tensor) -> str | None:
    gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) if rule.needs_gradients else None
    parameter = nn.Parameter(weight.clone())
    context = ScoreContext(MACS_PER_WEIGHT, torch.Generator().manual_seed(2), gradient)
    try:
        scores = scores_of(rule, parameter, context).detach()
    except CriterionFails as error:
        return str(error)
    except (Exception, SystemExit) as error:
        return f"fails: {typed_line(error)}{plugins.line_text(error)}"
    if not torch.equal(parameter, weight):
        return "changes them; work on a copy (weight.detach().clone())"
    if not scores.isfinite().all():
        return "gives scores that are not finite; each must be a number of at least 0"
    if (scores < 0).any():
        return f"gives scores down to {float(scores.min()):.3g}; each must be a number of at least 0"
    return None
