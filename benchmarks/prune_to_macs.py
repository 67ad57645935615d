"""Pruning to a MACs target against bisecting PyTorch's global pruning: speed, exactness, memory.

Both prune the same network to the same share of its MACs by global magnitude, in this process, one after the other:

- ours: ``prune_to_macs`` (exact);
- reference: ``torch.nn.utils.prune.global_unstructured``, its amount bisected until the MACs are within ``tolerance``.

The masks are also compared with those of a full sort of all weights by magnitude with a running sum of their MACs, and
of ``global_unstructured`` asked for that many weights. They differ by the weights that fill the last gap below the
target. Memory is the growth of the resident set while solving, sampled in a fresh process, divided by the weights'
bytes.

    python benchmarks/prune_to_macs.py [--network fbnetv3_g] [--size 240] [--share 0.5] [--out FILE.jsonl]
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import statistics
import threading
import time
from pathlib import Path

import timm
import torch
from table import machine
from torch import nn
from torch.nn.utils import prune

from accounting.macs.count import count_macs
from pruning.layers import Layer, find_layers
from pruning.result import PruneResult
from pruning.solve import prune_to_macs

MOST_ROUNDS = 60


def bisect(model: nn.Module, layers: list[Layer], target: int, tolerance: float) -> tuple[float, int, int, dict]:
    """Amount, MACs, rounds and masks of the reference. In its favour, positions are counted only once."""
    low, high = 0.0, 1.0
    for rounds in range(1, MOST_ROUNDS + 1):
        amount = (low + high) / 2
        pruned = copy.deepcopy(model)
        parameters = [(pruned.get_submodule(layer.name), "weight") for layer in layers]
        prune.global_unstructured(parameters, pruning_method=prune.L1Unstructured, amount=amount)
        masks = {layer.param_name: module.weight_mask for layer, (module, _) in zip(layers, parameters, strict=True)}
        macs = sum(int(masks[layer.param_name].sum()) * layer.macs_per_weight for layer in layers)
        if macs <= target and (target - macs) / target <= tolerance:
            return amount, macs, rounds, masks
        low, high = (amount, high) if macs > target else (low, amount)
    raise SystemExit(f"no amount found in {MOST_ROUNDS} rounds whose MACs lie within {tolerance:g} below {target:,}")


def by_full_sort(layers: list[Layer], target: int) -> tuple[dict, int]:
    """Masks that keep the weights of largest magnitude, as many as the target allows, and their MACs."""
    magnitude = torch.cat([layer.weight.detach().abs().flatten() for layer in layers])
    cost = torch.cat([torch.full((layer.num_weights,), layer.macs_per_weight) for layer in layers])
    order = torch.sort(magnitude, descending=True, stable=True).indices
    total = cost[order].cumsum(0)
    num = int(torch.searchsorted(total, target, right=True))
    mask = torch.zeros(len(magnitude), dtype=torch.bool)
    mask[order[:num]] = True
    parts = mask.split([layer.num_weights for layer in layers])
    masks = {layer.param_name: part.view(layer.weight.shape) for layer, part in zip(layers, parts, strict=True)}
    return masks, int(total[num - 1])


def num_different(ours: PruneResult, masks: dict) -> int:
    """Number of weights that only one of the two keeps."""
    return sum(int((ours.masks[name] != mask.bool()).sum()) for name, mask in masks.items())


def peak_memory_bytes(network: str, size: int, share: float, seed: int) -> tuple[int, int]:
    """Growth of the resident set while solving in a fresh process, and size of the weights, both in bytes."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure_peak, (network, size, share, seed))


def _measure_peak(network: str, size: int, share: float, seed: int) -> tuple[int, int]:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    warm = timm.create_model("mobilenetv3_small_050").eval()
    prune_to_macs(warm, (3, 64, 64), count_macs(warm, (3, 64, 64)).macs // 2)  # warms up imports and thread pools
    model = timm.create_model(network).eval()
    dense = count_macs(model, (3, size, size)).macs
    before, peak, done = _resident_bytes(), 0, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, _resident_bytes())

    sampler = threading.Thread(target=sample)
    sampler.start()
    result = prune_to_macs(model, (3, size, size), int(dense * share))
    done.set()
    sampler.join()
    return max(0, peak - before), 4 * sum(row.num_weights for row in result.layers)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    """Measure both ways, print the result and append it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="fbnetv3_g")
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "prune_to_macs.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model = timm.create_model(options.network).eval()
    size = (3, options.size, options.size)
    layers = find_layers(model, size)
    dense = sum(layer.num_weights * layer.macs_per_weight for layer in layers)
    target = int(dense * options.share)

    ours_s = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        ours = prune_to_macs(model, size, target)
        ours_s.append(time.perf_counter() - start)
    start = time.perf_counter()
    count_macs(model, size)
    counting_s = time.perf_counter() - start
    start = time.perf_counter()
    _, bisected_macs, rounds, _ = bisect(model, layers, target, options.tolerance)
    bisect_s = time.perf_counter() - start
    start = time.perf_counter()
    sorted_masks, sorted_macs = by_full_sort(layers, target)
    sort_s = time.perf_counter() - start
    # The reference, given the exact number of weights to prune, which bisection to the last weight would find.
    num_weights = sum(layer.num_weights for layer in layers)
    num_kept = sum(int(mask.sum()) for mask in sorted_masks.values())
    pruned = copy.deepcopy(model)
    parameters = [(pruned.get_submodule(layer.name), "weight") for layer in layers]
    prune.global_unstructured(parameters, pruning_method=prune.L1Unstructured, amount=num_weights - num_kept)
    reference = {layer.param_name: module.weight_mask for layer, (module, _) in zip(layers, parameters, strict=True)}
    peak, weight_bytes = peak_memory_bytes(options.network, options.size, options.share, options.seed)
    ours_median_s = statistics.median(ours_s)
    row = {
        "network": options.network,
        "size": options.size,
        "dense_macs": dense,
        "target_macs": target,
        "threads": options.threads,
        "ours": {
            "macs": ours.macs,
            "relative_error": (target - ours.macs) / target,
            "median_s": round(ours_median_s, 3),
            "all_s": [round(s, 3) for s in ours_s],
            "of_which_counting_s": round(counting_s, 3),
            "peak_bytes_over_weight_bytes": round(peak / weight_bytes, 2),
        },
        "bisection": {
            "macs": bisected_macs,
            "relative_error": (target - bisected_macs) / target,
            "rounds": rounds,
            "s": round(bisect_s, 3),
        },
        "full_sort": {"macs": sorted_macs, "relative_error": (target - sorted_macs) / target, "s": round(sort_s, 3)},
        "speedup_over_bisection": round(bisect_s / ours_median_s, 1),
        "weights": num_weights,
        "weights_that_differ_from_full_sort": num_different(ours, sorted_masks),
        "weights_that_differ_from_global_unstructured": num_different(ours, reference),
        "machine": machine("cpu", ("torch", "timm")),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
