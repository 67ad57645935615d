"""The last check of every result: the MACs of the masked network are counted again, independently of the solver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from accounting.macs.count import count_macs
from accounting.words.quantities import macs_text
from pruning.masks import Masks, apply_masks
from pruning.result import PruneResult


class MacsDiffer(RuntimeError):
    """A pruned network's MACs differ from those stated; it must not be recorded, and a retry would not help."""


def recounted(model: nn.Module, input_size: tuple[int, int, int], result: PruneResult) -> PruneResult:
    """Return the result itself, if ``count_macs`` gives the same MACs for the masked model. The model is left as it was.

    Raises:
        MacsDiffer: the MACs differ; the message has both counts and a layer in which they differ.

    """
    with _masked(model, result.masks):
        report = count_macs(model, input_size)
    if report.sparse_macs != result.macs:
        found: dict[str, int] = {}
        for layer in report.layers:
            found[layer.name] = found.get(layer.name, 0) + layer.sparse_macs
        said = {row.name: row.kept_macs for row in result.layers}
        where = next((f"; in {name} {macs_text(found[name])}, not {macs_text(said.get(name, 0))}" for name in found
                      if found[name] != said.get(name, 0)), "")  # fmt: skip
        raise MacsDiffer(
            f"pruned to {macs_text(result.macs)} MACs, but counted again the network has "
            f"{macs_text(report.sparse_macs)}{where}: zeros of some weights change what others "
            "cost; leave such layers alone (keep)"
        )
    return result


def check_macs(found: int, said: int, what: str = "the pruned network") -> None:
    """Raise :class:`MacsDiffer` unless the MACs found by counting are exactly those stated."""
    if found != said:
        raise MacsDiffer(
            f"{what} was said to have {macs_text(said)} MACs and has {macs_text(found)} when counted again"
        )


@contextmanager
def _masked(model: nn.Module, masks: Masks) -> Iterator[None]:
    """Set the model's masked weights to zero inside. It is not a copy, because not every module can be copied."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        before = {name: parameters[name].detach().clone() for name in masks}
        try:
            apply_masks(model, masks)
            yield
        finally:
            for name, values in before.items():
                parameters[name].copy_(values)
