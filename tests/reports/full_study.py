"""A synthetic study with everything that is optional: every route, many pruning methods, scans, predictions, latencies.

Costs, in hours of one CPU core per replicate (every target alike, ``T`` targets):
- prune: pretrain 3.4 (shared); per target and method prune 0.02 (not of a gradual one), finetune 0.2 and evaluate 0.01;
  an iterative one has two rounds of each of the first two; then the best, evaluate 0.01.
- search: eight candidates of 0.1 each (shared); per target retrain 0.2, evaluate 0.01.
- supernet: supernet 0.5 and two scoring jobs of 0.05 each (all shared); per target retrain 0.2, evaluate 0.01.
- search_then_prune: four candidates of 0.1 each (shared); per target retrain 0.2, prune 0.02, finetune 0.2, evaluate 0.01.
- scratch: per target four controls of 0.3, evaluate 0.01 each.
- analysis: 0.06 (shared).

Accuracies follow from a table with a small spread by replicate that is the same every time.
"""

from __future__ import annotations

import math
import zlib
from functools import partial
from pathlib import Path

from fake_study import PARENT_MACS, Timeline, build_study

FEW = ("global_magnitude", "global_lamp", "uniform_magnitude", "global_magnitude+gradual", "channels_magnitude")
MANY = (
    *FEW, "global_macs_magnitude", "global_taylor", "global_random", "global_magnitude+iterative",
    "channels_global_magnitude", "se_blocks_magnitude", "blocks_magnitude",
)  # fmt: skip
CONTROLS = (
    "scratch_family", "scratch_pruned_structure", "scratch_pruned_structure_equal_epochs", "scratch_random_masks",
)  # fmt: skip
LOSS = {
    "global_magnitude": 0.010, "global_lamp": 0.006, "uniform_magnitude": 0.017, "global_magnitude+gradual": 0.004,
    "channels_magnitude": 0.045, "global_macs_magnitude": 0.013, "global_taylor": 0.009, "global_random": 0.11,
    "global_magnitude+iterative": 0.005, "channels_global_magnitude": 0.038, "se_blocks_magnitude": 0.030,
    "blocks_magnitude": 0.055, "scratch_family": 0.035, "scratch_pruned_structure": 0.022,
    "scratch_pruned_structure_equal_epochs": 0.028, "scratch_random_masks": 0.040, "search": 0.014, "supernet": 0.016,
    "search_then_prune": 0.008,
}  # fmt: skip
DENSE = 0.905
ROLES = {"stem": 0.3, "expand": 0.75, "depthwise": 0.1, "project": 0.7, "se": 0.995, "head": 0.8, "classifier": 0.4}


def wiggle(*names) -> float:
    """A number from -1 to 1 that depends only on the names."""
    return zlib.crc32("|".join(map(str, names)).encode()) / 2**31 - 1


def accuracy(label, target, r) -> float:
    """Test accuracy: the parent's minus the label's loss, which grows as the target gets smaller."""
    loss = LOSS[label] * (1.5 - target / PARENT_MACS) / 0.7 + 0.02 * (1 - target / PARENT_MACS)
    return DENSE - 0.01 - loss + 0.006 * wiggle(label, target, r)


def layers_of(method, target, num_blocks=8):
    """The layers in network order; a global scope prunes some roles more than others, a uniform one all alike."""
    names = ["stem", *["expand", "depthwise", "se", "se", "project"] * num_blocks, "head", "classifier"]
    keep = target / PARENT_MACS
    rows = []
    for i, role in enumerate(names):
        weights = {"se": 800, "expand": 2000, "project": 2000, "depthwise": 200, "head": 6000}.get(role, 400)
        per_weight = {"se": 1, "classifier": 1, "stem": 196}.get(role, max(1, 49 - i))
        sparsity = 1 - keep
        if method.startswith("global") and "random" not in method:
            sparsity = ROLES[role] ** (2.2 * keep) * (0.85 + 0.15 * math.sin(i)) if role != "se" else 0.993
            sparsity += 0.02 * wiggle(method, role)
        elif role in ("stem", "depthwise"):
            sparsity = 0.0
        kept = round(weights * (1 - min(max(sparsity, 0.0), 0.999)))
        rows.append({"name": f"l{i}", "role": role, "macs": weights * per_weight, "kept_macs": kept * per_weight,
                     "num_weights": weights, "num_kept": kept})  # fmt: skip
    return rows


def deliver(line: Timeline, label, route, target, r, from_job, macs, *, dense_macs=PARENT_MACS):
    """Evaluate a network, with int8, sizes and a latency."""
    known = label.partition(":")[2] or label
    test = accuracy(known if known in LOSS else "global_magnitude+gradual", target, r)
    is_smaller = dense_macs == macs
    ms = 0.4 + 2.2 * dense_macs / PARENT_MACS + 0.03 * wiggle(label, r)
    outcome = {
        "label": label, "description": f"a network by {label}", "val_top1": test + 0.01, "test_top1": test,
        "macs": macs, "dense_macs": dense_macs, "params": 40_000, "nonzero_params": 12_000,
        "model_dir": f"models/{target}/{label.replace(':', '-')}/{r}", "from_job": from_job,
        "sparsity": 0.0 if is_smaller else 0.7,
        "int8": {"val_top1": test + 0.007, "test_top1": test - 0.003 + 0.001 * wiggle("q", label, r),
                 "size_bytes": 60_000, "method": "static", "engine": "x86"},
        "size_bytes": {"float": 200_000, "sparse": None if is_smaller else 90_000, "int8": 60_000, "onnx": None},
        "latency": {"median_ms": ms, "p10_ms": ms - 0.05, "p90_ms": ms + 0.1, "n": 30, "batch_size": 1, "threads": 1,
                    "device": "cpu", "runtime": "eager"},
    }  # fmt: skip
    name = f"{label}-r{r}-t{target}-evaluate"
    line.attempt(name, route, "evaluate", target, r, 0.01, macs=macs, outcome=outcome, init_from=from_job)


def trained(line, job, route, phase, target, r, hours, val, macs, dense=PARENT_MACS, network_macs=None, **spec):
    outcome = {"val_top1": val, "macs": macs, "dense_macs": dense, "params": 40_000, "nonzero_params": 20_000}
    line.attempt(
        job, route, phase, target, r, hours, macs=network_macs or macs, vals=(val - 0.05, val), outcome=outcome, **spec
    )


def prune_and_tune(line, route, method, target, r, parent) -> str:
    """Write the jobs of one method; returns the name of the last."""
    stem, val = f"{route}-r{r}-t{target}-{method}", accuracy(method, target, r) + 0.01
    base, _, schedule = method.partition("+")
    scope, _, criterion = base.rpartition("_")
    rule = {"method": method, "scope": scope, "criterion": criterion, "floor": 0.002}
    is_smaller = scope.startswith(("channels", "blocks", "se_blocks"))
    dense = target if is_smaller else PARENT_MACS
    if schedule == "gradual":
        rule = {**rule, "target_macs": target}
        macs = PARENT_MACS
        trained(line, f"{stem}-finetune", route, "finetune", target, r, 0.2, val, target, dense, macs,
                init_from=parent, prune=rule)  # fmt: skip
        return f"{stem}-finetune"
    rounds = (1, 2) if schedule == "iterative" else (0,)
    for turn in rounds:
        macs = (PARENT_MACS + target) // 2 if turn == 1 else target
        end = f"-{turn}" if turn else ""
        facts = {"widths": {"l0": [16, 12]}} if is_smaller else {"layers": layers_of(method, macs)}
        outcome = {"val_top1": max(0.1, val - 0.25 - 0.2 * (1 - target / PARENT_MACS)), "macs": macs, **facts}
        line.attempt(f"{stem}-prune{end}", route, "prune", target, r, 0.02, macs=macs, outcome=outcome,
                     init_from=parent, prune={**rule, "target_macs": macs})  # fmt: skip
        trained(line, f"{stem}-finetune{end}", route, "finetune", target, r, 0.2, val, macs, min(dense, PARENT_MACS),
                init_from=f"{stem}-prune{end}")  # fmt: skip
        parent = f"{stem}-finetune{end}"
    return parent


def prune_replicate(line, r, targets, methods=FEW):
    trained(line, f"prune-r{r}-pretrain", "prune", "pretrain", None, r, 3.4, DENSE + 0.003 * wiggle(r), PARENT_MACS)
    for target in targets:
        last = {m: prune_and_tune(line, "prune", m, target, r, f"prune-r{r}-pretrain") for m in methods}
        smaller = ("channels", "blocks", "se_blocks")
        for method, job in last.items():
            dense = target if method.startswith(smaller) else PARENT_MACS
            deliver(line, f"prune:{method}", "prune", target, r, job, target, dense_macs=dense)
        deliver(line, "prune", "prune", target, r, last["global_magnitude+gradual"], target)


def candidates(line, route, r, count, scale=1.0):
    for i in range(count):
        macs = int(scale * (380_000 + 60_000 * (i % 8)))
        mean = 0.70 + 0.02 * wiggle(route, r, i, "mean") + macs / 2e7
        found = {"val_top1": mean + 0.02 * wiggle(route, r, i), "macs": macs}
        predicted = None
        if i >= count // 4:
            predicted = {"mean": mean, "sd": 0.008}
            if i % 2:
                found["stopped_epoch"] = 1
        name = f"{route}-r{r}-candidate-{i:03d}"
        line.attempt(name, route, "search", None, r, 0.1, macs=macs, vals=(0.5, found["val_top1"]), outcome=found,
                     predicted=predicted)  # fmt: skip


def search_replicate(line, r, targets, num_candidates=8):
    candidates(line, "search", r, num_candidates)
    for target in targets:
        job, macs = f"search-r{r}-t{target}-retrain-0", int(0.95 * target)
        trained(line, job, "search", "retrain", target, r, 0.2, accuracy("search", target, r) + 0.01, macs, macs,
                predicted={"mean": 0.75, "sd": 0.01})  # fmt: skip
        deliver(line, "search", "search", target, r, job, macs, dense_macs=macs)


def supernet_replicate(line, r, targets):
    line.attempt(f"supernet-r{r}-supernet", "supernet", "supernet", None, r, 0.5, macs=300_000, vals=(0.95, 0.97),
                 outcome={"supernet_val_top1": 0.97})  # fmt: skip
    for i in range(2):
        line.attempt(f"supernet-r{r}-score-{i}", "supernet", "search", None, r, 0.05, macs=300_000,
                     outcome={"scores": [0.5, 0.6]}, init_from=f"supernet-r{r}-supernet")  # fmt: skip
    for target in targets:
        job, macs = f"supernet-r{r}-t{target}-retrain-0", int(0.97 * target)
        trained(line, job, "supernet", "retrain", target, r, 0.2, accuracy("supernet", target, r) + 0.01, macs, macs)
        deliver(line, "supernet", "supernet", target, r, job, macs, dense_macs=macs)


def search_then_prune_replicate(line, r, targets):
    route = "search_then_prune"
    candidates(line, route, r, 4, 2.0)
    for target in targets:
        job = f"{route}-r{r}-t{target}-retrain-0"
        trained(line, job, route, "retrain", target, r, 0.2, 0.89, 2 * target, 2 * target)
        last = prune_and_tune(line, route, "global_magnitude", target, r, job)
        deliver(line, route, route, target, r, last, target)


def scratch_replicate(line, r, targets):
    for target in targets:
        for label in CONTROLS:
            job, macs = f"{label}-r{r}-t{target}-retrain", int(0.9 * target) if label == "scratch_family" else target
            dense = macs if label == "scratch_family" else PARENT_MACS
            val = accuracy(label, target, r) + 0.01
            trained(line, job, "scratch", "retrain", target, r, 0.3, val, macs, dense)
            deliver(line, label, "scratch", target, r, job, macs, dense_macs=dense)


def analysis_replicate(line, r, targets):
    levels = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
    frail = {"stem": 0.9, "expand": 0.5, "depthwise": 0.97, "project": 0.6, "se": 0.05, "head": 0.3, "classifier": 0.4}
    outcome = {
        "dense_val_top1": DENSE,
        "dense_test_top1": DENSE - 0.01,
        "num_val": 5000,
        "sensitivity": [
            {"role": role, "sparsity": s, "macs": 900_000,
             "val_top1": max(0.1, DENSE - f * s**4 + 0.01 * wiggle(role, s, r))}
            for role, f in frail.items() for s in levels
        ],
        "sparsity_curve": [
            {"scope": scope, "criterion": "magnitude", "sparsity": s, "macs": int(1e6 * (1 - s)),
             "val_top1": max(0.1, DENSE - (0.8 if scope == "global" else 0.95) * s**3 + 0.01 * wiggle(scope, s, r))}
            for scope in ("global", "uniform") for s in levels
        ],
    }  # fmt: skip
    line.attempt(f"analysis-r{r}-scan", "analysis", "evaluate", None, r, 0.06, macs=PARENT_MACS, outcome=outcome,
                 init_from=f"prune-r{r}-pretrain")  # fmt: skip


def build_full_study(folder: Path, *, methods=FEW, num_candidates=8, without=(), **options) -> Path:
    """Build a study of every route except those in ``without``; ``options`` are those of ``build_study``."""
    more = {
        "search": partial(search_replicate, num_candidates=num_candidates),
        "prune": partial(prune_replicate, methods=methods),
        "supernet": supernet_replicate,
        "search_then_prune": search_then_prune_replicate,
        "scratch": scratch_replicate,
        "analysis": analysis_replicate,
    }
    more = {name: write for name, write in more.items() if name not in without}
    return build_study(folder, routes=(), more=more, **options)
