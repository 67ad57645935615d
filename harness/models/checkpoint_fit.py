"""Checks that a user's tensors are the weights of a network, and loads them: by name, or in order if that is safe."""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from accounting.words.task import task
from harness.errors import InputError
from harness.models.classifier import classifier_tensors

log = logging.getLogger(__name__)

_AVERAGED = ("ema", "teacher", "averag", "target")
"""Parts of prefixes that mean averaged weights, which are preferred if a file has the same names twice."""
_BOOKKEEPING = (
    "relative_position_index",
    "attn_mask",
    "total_ops",
    "total_params",
    "num_batches_tracked",
    "n_averaged",
)
"""Tensors that other code or other versions of timm store next to the weights."""
_CHANCE = 0.1
"""Share of a network's names that may occur by chance in another network's file (``norm.weight``, ``fc.bias``)."""
_LEAVES = ("weight", "bias", "running_mean", "running_var")


def fit_checkpoint(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> list[str]:
    """Load a user's weights by name, under any prefix, or else in order if names and shapes allow it.

    A classifier of another size is not changed, and the names of its tensors are returned. A first convolution for
    colour images is adapted to the parent's channels as timm does it (summed for one channel, repeated for more).
    Weights of other floating-point types are cast. Names from a network's original code are translated if timm can.

    Raises:
        InputError: tensors do not fit (with their number), the parent has no place for some, or one does not consist of
            finite real numbers. The model is then unchanged.

    """
    own = {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    head = classifier_tensors(model)
    given = _by_name(model, own, head, _without_counters(state), path) or _in_order(own, _without_counters(state), path)
    given = {name: _adapted(model, own, name, value) for name, value in given.items()}
    fits = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    wrong = [name for name in own if name not in fits and name not in head and not _has_twin(own, name, fits)]
    if wrong:
        raise InputError(
            f"parent.checkpoint: {path} does not fit the parent: {len(wrong)} of {len(own)} tensors are missing or of "
            f"another shape, the first {_differs(wrong[0], own, given)}"
        )
    _check_nothing_is_left_over(given, own, head, path)
    loaded = {name: _checked(name, value, own[name], path) for name, value in fits.items()}
    counters = {name: value for name, value in state.items() if name.endswith("num_batches_tracked")}
    model.load_state_dict({**{n: v for n, v in counters.items() if n in model.state_dict()}, **loaded}, strict=False)
    return [name for name in own if name not in fits and not _has_twin(own, name, fits)]


def _without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def _by_name(
    model: nn.Module, own: Mapping[str, Tensor], head: set[str], given: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor] | None:
    """The tensors by the network's own names; None if no more names agree than by chance."""
    view, prefix = _under_best_prefix(own, given)
    if any(name not in view for name in own if name not in head):
        translated, other = _under_best_prefix(own, _translated(model, view or given))
        if sum(name in own for name in translated) > sum(name in own for name in view):
            view, prefix = translated, other
    if sum(name in own and name not in head for name in view) <= _CHANCE * len(own):
        return None
    _check_is_one(own, given, view, prefix, path)
    if prefix and len(view) < len(given):
        log.info("parent.checkpoint: of %d tensors those under %r are taken", len(given), prefix.removesuffix("."))
    return view


def _under_best_prefix(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The tensors below the prefix that covers most of the network's names, and that prefix.

    Of several equal ones, a prefix for averaged weights is preferred, then the shortest.
    """
    found: Counter[str] = Counter()
    for name in given:
        starts = [0, *(match.end() for match in re.finditer(r"\.", name))]
        found.update(name[:start] for start in starts if name[start:] in own)
    if not found:
        return {}, ""

    def rank(prefix: str) -> tuple[int, bool, int]:
        return found[prefix], any(part in prefix.lower() for part in _AVERAGED), -len(prefix)

    best = max(found, key=rank)
    return {name.removeprefix(best): value for name, value in given.items() if name.startswith(best)}, best


def _check_is_one(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], view: Mapping[str, Tensor], prefix: str, path: Path
) -> None:
    """``InputError`` if another prefix has the same names with other values, unless ``prefix`` says averaged."""
    names = sorted(name for name in view if name in own)
    if not prefix or not names or any(part in prefix.lower() for part in _AVERAGED):
        return
    others = [full.removesuffix(names[0]) for full in given if full.endswith(f".{names[0]}")]
    for other in others:
        same = {name: given.get(f"{other}{name}") for name in names}
        if other != prefix and all(
            tensor is not None and tensor.shape == view[name].shape for name, tensor in same.items()
        ):
            if all(tensor is not None and torch.equal(tensor, view[name]) for name, tensor in same.items()):
                continue
            raise InputError(
                f"parent.checkpoint: {path} holds two networks that fit, under {prefix.removesuffix('.')!r} and "
                f"{other.removesuffix('.')!r}; save only the one that is meant"
            )


def _translated(model: nn.Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by timm's names, if timm can translate those of the network's original code; otherwise none."""
    translate = getattr(sys.modules.get(type(model).__module__), "checkpoint_filter_fn", None)
    if translate is None:
        return {}
    try:
        result = translate(dict(given), model)
    except Exception as error:  # it is written for certain files, and may fail on others in any way
        log.debug("timm does not translate the names: %s", error)
        return {}
    return {k: v for k, v in result.items() if isinstance(v, Tensor)} if isinstance(result, Mapping) else {}


def _in_order(own: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors assigned to the network's names in order, unless there is a sign that the order differs.

    Numbers in their names must not decrease, and a name's last part (weight, bias, running mean or variance) must agree
    with the network's at the same place. Equal shapes alone cannot tell two layers apart, so a warning says that the
    order was trusted. If the number of tensors differs, they are returned under their own names.
    """
    if len(own) != len(given):
        return dict(given)
    reached: dict[str, int] = {}
    for name, mine in zip(given, own, strict=True):
        leaf, own_leaf = name.rpartition(".")[2], mine.rpartition(".")[2]
        if leaf in _LEAVES and own_leaf in _LEAVES and leaf != own_leaf:
            raise InputError(
                f"parent.checkpoint: {path} does not fit the parent: its names are others, and in order {name} would become "
                f"{mine}; rename its tensors to the parent's"
            )
        for match in re.finditer(r"(?:^|\.|_)(\d+)(?=\.|_|$)", name):
            before, number = name[: match.start(1)], int(match[1])
            if number < reached.get(before, -1):
                raise InputError(
                    f"parent.checkpoint: {path} does not fit the parent: its names are others, and {name} comes "
                    "late, so its order is not that of the layers; rename its tensors to the parent's"
                )
            reached[before] = number
    if all(a.shape == b.shape for a, b in zip(own.values(), given.values(), strict=True)):
        log.warning(
            "parent.checkpoint: no name in %s is the parent's; its %d tensors are taken in order, since every shape agrees "
            "(%s is read as %s); if that order were wrong, the parent would do no better than %s",
            path, len(own), next(iter(given)), next(iter(own)), task().guessing,
        )  # fmt: skip
    return dict(zip(own, given.values(), strict=True))


def _adapted(model: nn.Module, own: Mapping[str, Tensor], name: str, value: Tensor) -> Tensor:
    """The tensor; a first convolution for colour images is adapted to the parent's channels."""
    first: Any = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv") or next(iter(own)).removesuffix(
        ".weight"
    )
    names = [f"{layer}.weight" for layer in ((first,) if isinstance(first, str) else first)]
    if (
        name not in names
        or name not in own
        or own[name].dim() != 4
        or value.dim() != 4
        or not value.is_floating_point()
    ):
        return value
    if value.shape[1] != 3 or own[name].shape[1] == 3 or value.is_meta:
        return value
    return adapt_input_conv(own[name].shape[1], value)


def _has_twin(own: Mapping[str, Tensor], name: str, fits: Mapping[str, Tensor]) -> bool:
    """Whether the same (tied) weight is loaded under another name."""
    mine = own[name]
    return mine.numel() > 0 and not mine.is_meta and any(
        other in fits and own[other].data_ptr() == mine.data_ptr() and own[other].shape == mine.shape for other in own
    )  # fmt: skip


def _differs(name: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    if name not in given:
        return name
    return f"{name} ({tuple(given[name].shape)} instead of {tuple(own[name].shape)})"


def _check_nothing_is_left_over(
    given: Mapping[str, Tensor], own: Mapping[str, Tensor], head: set[str], path: Path
) -> None:
    """``InputError`` for weights of a deeper network, which has all names of the parent and more."""
    parts = {name.partition(".")[0] for name in own if "." in name and name not in head}
    left = [
        name
        for name, value in given.items()
        if name not in own
        and name.partition(".")[0] in parts
        and name.rpartition(".")[2] not in _BOOKKEEPING
        and value.is_floating_point()
    ]
    if left:
        raise InputError(
            f"parent.checkpoint: {path} is of another network: the parent has no place for {len(left)} of its tensors, the "
            f"first {left[0]}"
        )


def _checked(name: str, value: Tensor, own: Tensor, path: Path) -> Tensor:
    """The tensor in the network's own type; ``InputError`` unless its values are usable real numbers."""
    kind = None
    if value.is_meta:
        kind = "on the meta device: it has a shape and no values"
    elif value.layout != torch.strided or value.is_nested:
        kind = f"stored as {str(value.layout).removeprefix('torch.')}; save it with to_dense()"
    elif value.is_quantized or str(value.dtype).startswith("torch.float8") or (
        own.is_floating_point() and not value.is_floating_point() and not value.is_complex()
    ):  # fmt: skip
        kind = f"of {str(value.dtype).removeprefix('torch.')}: quantised weights are not those of the float network"
    elif value.is_complex() and not own.is_complex():
        kind = f"of {str(value.dtype).removeprefix('torch.')}: weights are real numbers"
    if kind is not None:
        raise InputError(f"parent.checkpoint: {path}: {name} is {kind}")
    cast = value.to(own.dtype)
    if not bool(torch.isfinite(cast).all()):
        bad = "too large for float32" if bool(torch.isfinite(value).all()) else "NaN or infinite"
        raise InputError(f"parent.checkpoint: {path}: {name} has values that are {bad}; its training had diverged")
    if name.endswith("running_var") and bool((cast < 0).any()):
        raise InputError(f"parent.checkpoint: {path}: {name} has negative variances, so it is damaged or out of order")
    return cast
