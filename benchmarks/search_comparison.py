"""Search strategies at an equal number of trained candidates: differences in accuracy of the networks they retrain.

It reads finished studies (``studies/search_strategies.yaml`` makes two), pairs their delivered networks by replicate
and target, and appends the differences with 95 % t-intervals to the results. The units are replicates: targets are
averaged within each.

    python benchmarks/search_comparison.py runs/search_predictor runs/search_random
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from harness.devices import cpu_name
from reports.data.frames import Frames, load_frames
from reports.statistics import mean_interval, paired_difference

RESULTS = Path(__file__).parent / "results" / "search_comparison.jsonl"


def by_replicate(frames: Frames, label: str, value: str) -> dict[int, float]:
    """Mean over targets of a delivered network's ``test_top1``, ``val_top1`` or full cost, by replicate."""
    found: dict[int, list[float]] = {}
    for network in frames.delivered:
        if network.label == label:
            known = network.cost_h["full"] if value == "cost_h" else getattr(network, value)
            found.setdefault(network.replicate, []).append(known)
    complete = max((len(values) for values in found.values()), default=0)
    return {replicate: sum(v) / len(v) for replicate, v in found.items() if len(v) == complete}


def main() -> None:
    """Compare the studies, append the row and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("predictor", type=Path, help="the study of predictor_evolution (and a supernet beside it)")
    parser.add_argument("random", type=Path, help="the study of random search")
    parser.add_argument("--note", default="", help="what to know of the run, such as other load on the machine")
    args = parser.parse_args()
    one, two = load_frames(args.predictor), load_frames(args.random)
    lines = {"predictor_evolution": (one, "search"), "random": (two, "search"), "supernet": (one, "supernet")}
    row: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": cpu_name(),
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
        "targets": one.info.targets,
        "unit": one.unit,
        "note": args.note,
    }
    for name, (frames, label) in lines.items():
        row[name] = {
            value: mean_interval(list(by_replicate(frames, label, value).values())).as_dict()
            for value in ("test_top1", "val_top1", "cost_h")
        }
    for name in ("predictor_evolution", "supernet"):
        frames, label = lines[name]
        row[f"{name} minus random"] = {
            value: paired_difference(by_replicate(frames, label, value), by_replicate(two, "search", value)).as_dict()
            for value in ("test_top1", "val_top1")
        }
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
