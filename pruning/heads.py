"""The heads of timm's multi-head attention (``vit_*``, ``deit*``): which part of each layer belongs to which head.

A head works the same without the others, so whole heads can be removed (Michel et al. 2019, arXiv 1905.10650). A head's
width does not change. Torch-Pruning also removes heads if its caller names the layers (``num_heads``,
``prune_num_heads``), but its dependency graph does not see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn


def find_attentions(model: nn.Module) -> Iterator[tuple[str, Attention]]:
    """Yield (name, attention module) for each whose heads can be removed: those with the layers that timm gives them."""
    for name, module in model.named_modules():
        is_plain = type(module) is Attention and isinstance(module.norm, (nn.Identity, nn.LayerNorm))
        if is_plain and type(module.qkv) is type(module.proj) is nn.Linear and module.num_heads > 1:
            yield name, module


def layers_of(attention: Attention) -> Iterator[tuple[str, nn.Linear | nn.LayerNorm, bool, int]]:
    """Yield (name, layer, whether it makes the heads' channels, how many times each head's channels occur in it)."""
    yield "qkv", attention.qkv, True, 3  # queries, keys, values of all heads, one after the other
    if isinstance(attention.norm, nn.LayerNorm):
        yield "norm", attention.norm, True, 1
    if attention.gate is not None:
        yield "gate", attention.gate, True, 1
    yield "proj", attention.proj, False, 1


def places_of(attention: Attention, times: int) -> tuple[Tensor, Tensor]:
    """(head of each place, places) in a layer in which the heads' channels occur ``times`` times; both int64."""
    places = torch.arange(times * attention.num_heads * attention.head_dim)
    return places // attention.head_dim % attention.num_heads, places


@torch.no_grad()
def remove_heads(attention: Attention, heads: Sequence[int]) -> None:
    """Remove heads, in place."""
    for _, layer, is_output, times in list(layers_of(attention)):
        owners, places = places_of(attention, times)
        keep = places[~torch.isin(owners, torch.tensor(list(heads), dtype=torch.int64))]
        for key, parameter in list(layer.named_parameters(recurse=False)):
            dim = 0 if is_output else 1
            if parameter.dim() > dim:
                kept = parameter.detach().index_select(dim, keep.to(parameter.device)).clone()
                setattr(layer, key, nn.Parameter(kept, parameter.requires_grad))
        if isinstance(layer, nn.LayerNorm):
            layer.normalized_shape = (len(keep),)
        elif is_output:
            layer.out_features = len(keep)
        else:
            layer.in_features = len(keep)
    attention.num_heads -= len(set(heads))
    attention.attn_dim = attention.num_heads * attention.head_dim
