"""Checks that a study's parent can be built as the study will build it, takes the images, and can be trained on them.

timm's networks differ in the keywords and images that they accept. Without these checks, a refusal would show up only
in an attempt that has already been paid for. The families' networks are built by this package and accept all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import timm
import torch
from torch import nn

from accounting.ledger.specs import NetworkSpec
from accounting.macs.count import count_macs
from harness.config.recipe import RecipeOverride
from harness.config.study import ParentConfig, StudyConfig
from harness.data.base import DataInfo
from harness.errors import InputError, one_line, typed_line
from harness.models.build import build_network, parent_spec, with_regularisation
from harness.models.classifier import classifier_tensors

RATES = ("drop_rate", "drop_path_rate")
"""Fields of a recipe that are part of the network."""
MAX_STEP_MACS = 10**10
"""A training step is tried only on parents up to this size, for which it takes seconds."""


def built_parent(config: ParentConfig, info: DataInfo) -> tuple[NetworkSpec, nn.Module, int]:
    """The parent's spec, the parent with fresh weights, and its MACs.

    Raises:
        InputError: the parent cannot be built, cannot take the images, or does not give the outputs of the task.

    """
    spec, name = parent_spec(config, info), _name(config)
    try:
        model = build_network(spec)
    except Exception as error:  # timm's constructors may refuse their arguments in any way
        raise InputError(f"parent: {name} {_refused_argument(spec, info, error)}") from None
    try:
        macs = count_macs(model, info.image_shape).macs
        output = _output(model, info)
    except Exception as error:  # and their forward passes an input
        why = one_line(error).rstrip(".") + _own_size(config, info)
        raise InputError(f"parent: {name} cannot take images of {info.image_shape}: {why}") from None
    if not info.task.fits(output, 1):
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise InputError(
            f"parent: {name} gives {shape} for one image and not {info.task.outputs_text}; name a network for "
            f"{info.task.words.name}"
        )
    return spec, model, macs


def check_trainable(config: StudyConfig, info: DataInfo, spec: NetworkSpec, macs: int) -> None:
    """``InputError`` if the parent does not take a recipe's dropout or stochastic depth, or a training step fails."""
    if spec["builder"] == "timm":
        for section, override in _recipes(config):
            _check_rates(config, section, override, spec)
    _check_head(config, info, spec)
    recipe = next((r for r in (o.over(config.recipe) for _, o in _recipes(config)) if r.epochs), None)
    if recipe is None or macs > MAX_STEP_MACS:
        return
    model = build_network(with_regularisation(spec, recipe.model_dump()))
    try:
        _training_step(model, info)
    except Exception as error:  # third-party code, as above
        raise InputError(
            f"parent: {_name(config.parent)} cannot be trained on batches of {info.image_shape} images: {typed_line(error)}"
        ) from None


def _recipes(config: StudyConfig) -> Iterator[tuple[str, RecipeOverride]]:
    """The sections of a config whose recipes train the parent or a pruned version of it, by key."""
    yield "parent.pretrain", config.parent.pretrain
    for route, section in config.routes.powers.items():
        for key, override in section.parent_recipes():
            yield f"routes.{route}.{key}", override


def _check_head(config: StudyConfig, info: DataInfo, spec: NetworkSpec) -> None:
    scaled = [
        (f"{section if override.head_init_scale is not None else 'recipe'}.head_init_scale")
        for section, override in _recipes(config)
        if override.over(config.recipe).head_init_scale is not None
    ]
    if scaled and not classifier_tensors(build_network(spec)):
        raise InputError(
            f"{scaled[0]}: {_name(config.parent)} has no {info.task.words.head_layer} by timm's names; remove it"
        )


def _check_rates(config: StudyConfig, section: str, override: RecipeOverride, spec: NetworkSpec) -> None:
    recipe = override.over(config.recipe)
    rates = {rate: getattr(recipe, rate) for rate in RATES if getattr(recipe, rate)}
    for rate, value in rates.items():
        key = f"{section if getattr(override, rate) is not None else 'recipe'}.{rate}"
        try:
            built = build_network(with_regularisation(spec, {rate: value}))
        except Exception as error:  # a constructor that does not know it, or asserts that it is 0
            why = "" if isinstance(error, TypeError) else f" ({typed_line(error)})"
            raise InputError(f"{key}: {_name(config.parent)} does not take it{why}; remove it or set it to 0") from None
        # Compared with another rate, not with no rate, since the given rate may be the network's own default.
        if _numbers(built) == _numbers(build_network(with_regularisation(spec, {rate: value / 2}))):
            raise InputError(
                f"{key}: {_name(config.parent)} takes it and does nothing with it; remove it or set it to 0"
            )
    if len(rates) > 1:
        try:
            build_network(with_regularisation(spec, rates))
        except Exception as error:
            keys = " and ".join(f"{section}.{rate}" for rate in rates)
            raise InputError(
                f"{keys}: {_name(config.parent)} does not take both ({typed_line(error)}); set one to 0"
            ) from None


def _numbers(model: nn.Module) -> Counter[tuple[str, str, float]]:
    """The float attributes of a network's modules, in which a rate shows up."""
    return Counter(
        (type(module).__name__, key, value)
        for module in model.modules()
        for key, value in vars(module).items()
        if isinstance(value, float)
    )


def _refused_argument(spec: NetworkSpec, info: DataInfo, error: Exception) -> str:
    kwargs = spec.get("kwargs", {})
    for key in kwargs:
        try:
            build_network({**spec, "kwargs": {k: v for k, v in kwargs.items() if k != key}})
        except Exception:
            continue
        if key == "in_chans":
            return f"cannot be built for images of {info.image_shape[0]} channels: {one_line(error)}"
        return f"does not take {key}={kwargs[key]!r}: {one_line(error)}"
    return f"cannot be built: {typed_line(error)}"


def _own_size(config: ParentConfig, info: DataInfo) -> str:
    """What to do if a timm network takes only images of its own size; empty if that is not known."""
    cfg = None if config.timm is None else timm.get_pretrained_cfg(config.timm)
    side = info.image_shape[1] if cfg is None or not cfg.fixed_input_size else cfg.input_size[1]
    return "" if side == info.image_shape[1] else f"; it takes images of {side} pixels: set dataset.image_size to that"


def _output(model: nn.Module, info: DataInfo) -> object:
    model.eval()
    with torch.inference_mode():
        return model(torch.zeros(1, *info.image_shape))


def _training_step(model: nn.Module, info: DataInfo) -> None:
    """One step as the trainer does it, on two images, the smallest batch that it ever uses."""
    model = model.to(memory_format=torch.channels_last).train()
    images = torch.randn(2, *info.image_shape).contiguous(memory_format=torch.channels_last)
    output = model(images)
    if not info.task.fits(output, 2):
        raise TypeError(f"in training it gives a {type(output).__name__} and not {info.task.outputs_text}")
    info.task.loss_sum(output, info.task.some_targets(2, images.device)).backward()


def _name(config: ParentConfig) -> str:
    return config.timm or f"{config.family} {config.variant}"
