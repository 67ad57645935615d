"""A grid that checks that every network, scope, criterion and share hits its MACs target or is refused with a reason.

The grid is seven timm networks (freshly initialised, seed 0) x {global, uniform} x criteria x {80, 50, 20, 5 %} of
their MACs. Each result is applied to a copy, whose MACs ``accounting.macs`` counts again from the non-zero weights. A
row per case is added to the CSV, with time, machine and versions.

With ``--structured``, channels of the same networks are removed, {uniform, global} x {75, 50, 25 %}. The smaller
network is counted again, run, and loaded from its state dict into the dense architecture, which must give the same
outputs.

    python benchmarks/prune_grid.py [--structured] [--out FILE.csv] [--networks NAME ...]
"""

from __future__ import annotations

import argparse
import copy
import itertools
import logging
import time
from pathlib import Path

import timm
import torch
from table import append, machine
from torch import nn

from accounting.macs.count import count_macs
from pruning.masks import apply_masks
from pruning.resize import fit_to_state
from pruning.solve import UnreachableTarget, prune_to_macs
from pruning.structured import prune_channels_to_macs

NETWORKS = {
    "fbnetv3_b": 224,
    "fbnetv3_g": 240,
    "tf_efficientnet_lite0": 224,
    "mobilenetv3_large_100": 224,
    "resnet18": 224,
    "convnext_atto": 224,
    "mobilevitv2_050": 256,
}
SCOPES = ("global", "uniform")
CRITERIA = ("magnitude", "macs_magnitude", "lamp", "random")
SHARES = (0.80, 0.50, 0.20, 0.05)
STRUCTURED_SHARES = (0.75, 0.50, 0.25)


def measure(model: nn.Module, size: tuple[int, int, int], dense: int, scope: str, criterion: str, share: float) -> dict:
    """One row of the grid: the MACs asked for, those reached, and those of a recount."""
    target = int(dense * share)
    row: dict = {"scope": scope, "criterion": criterion, "share": share, "dense_macs": dense, "target_macs": target}
    start = time.perf_counter()
    try:
        result = prune_to_macs(model, size, target, scope=scope, criterion=criterion)
    except UnreachableTarget as refusal:
        return {**row, "outcome": f"refused: {refusal}", "seconds": round(time.perf_counter() - start, 3)}
    seconds = time.perf_counter() - start
    pruned = copy.deepcopy(model)
    apply_masks(pruned, result.masks)
    recounted = count_macs(pruned, size).sparse_macs
    costs = {layer.macs // layer.num_weights for layer in result.layers if layer.num_kept < layer.num_weights}
    one_weight = min(costs) if scope == "global" else max(costs)
    hit = recounted == result.macs <= target and target - result.macs < one_weight
    return {
        **row,
        "outcome": "hit" if hit else "MISSED",
        "macs": result.macs,
        "recounted_macs": recounted,
        "relative_error": (target - result.macs) / target,
        "share_of_weights_kept": round(
            sum(row.num_kept for row in result.layers) / sum(row.num_weights for row in result.layers), 4
        ),
        "layers_without_a_weight": sum(row.num_kept == 0 for row in result.layers),
        "layers": len(result.layers),
        "seconds": round(seconds, 3),
    }


def measure_structured(
    name: str, model: nn.Module, size: tuple[int, int, int], dense: int, scope: str, share: float
) -> dict:
    """One row of the structured grid."""
    target = int(dense * share)
    row: dict = {"scope": scope, "share": share, "dense_macs": dense, "target_macs": target}
    start = time.perf_counter()
    try:
        result = prune_channels_to_macs(model, size, target, scope=scope)
    except UnreachableTarget as refusal:
        return {**row, "outcome": f"refused: {refusal}", "seconds": round(time.perf_counter() - start, 3)}
    seconds = time.perf_counter() - start
    recounted = count_macs(result.model, size).macs
    image = torch.randn(2, *size, generator=torch.Generator().manual_seed(1))
    rebuilt = fit_to_state(timm.create_model(name), result.model.state_dict()).eval()
    with torch.no_grad():
        output = result.model(image)
        is_right = bool(output.isfinite().all()) and output.shape == model(image).shape
        is_loadable = torch.equal(rebuilt(image), output)
    hit = recounted == result.macs and 0.99 * target <= recounted <= target and is_right and is_loadable
    return {
        **row,
        "outcome": "hit" if hit else "MISSED",
        "macs": result.macs,
        "recounted_macs": recounted,
        "relative_error": (target - result.macs) / target,
        "parameters_kept": round(
            sum(p.numel() for p in result.model.parameters()) / sum(p.numel() for p in model.parameters()), 4
        ),
        "groups_pruned": len(result.widths),
        "groups_left_out": "; ".join(f"{layer}: {reason}" for layer, reason in result.left_out.items()),
        "seconds": round(seconds, 3),
    }


def main() -> None:
    """Measure every case of the grid and append the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--structured", action="store_true")
    parser.add_argument("--out", type=Path, help="default: results/prune_grid.csv or structured_grid.csv beside this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pruning").setLevel(logging.ERROR)
    rows = []
    for name in options.networks:
        torch.manual_seed(0)
        model = timm.create_model(name).eval()
        size = (3, NETWORKS[name], NETWORKS[name])
        dense = count_macs(model, size).macs
        head = {"network": name, "size": NETWORKS[name]}
        if options.structured:
            for scope, share in itertools.product(SCOPES, STRUCTURED_SHARES):
                rows.append({**head, **measure_structured(name, model, size, dense, scope, share)})
        else:
            for scope, criterion, share in itertools.product(SCOPES, CRITERIA, SHARES):
                rows.append({**head, **measure(model, size, dense, scope, criterion, share)})
        outcomes = [row["outcome"] for row in rows if row["network"] == name]
        worst = max(row.get("relative_error", 0) for row in rows if row["network"] == name)
        print(f"{name}: {outcomes.count('hit')} of {len(outcomes)} hit, largest relative error {worst:.1e}", flush=True)
    default = "structured_grid.csv" if options.structured else "prune_grid.csv"
    facts = machine("cpu", ("torch", "timm", "torch-pruning"))
    columns = list(max(rows, key=len))
    out = options.out or Path(__file__).parent / "results" / default
    append(out, [facts | {column: row.get(column, "") for column in columns} for row in rows])


if __name__ == "__main__":
    main()
