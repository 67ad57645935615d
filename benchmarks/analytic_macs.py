"""Networks counted per second: analytically, against building them with timm and counting with fvcore.

    python benchmarks/analytic_macs.py [--archs 200000] [--built 20]

It uses one core and one process. Both rates are for the MACs of members of the full ``fbnetv3`` space; for the built
networks, both counts are also checked to be equal. Appends to ``benchmarks/results/analytic_macs.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from nas_baseline.spaces import list_spaces, load_space
from nas_baseline.spaces.base import Arch, as_indices
from nas_baseline.spaces.networks import build

RESULTS = Path(__file__).parent / "results" / "analytic_macs.jsonl"


def main() -> None:
    """Measure both rates, print the record and append it to ``RESULTS``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--archs", type=int, default=200_000)
    parser.add_argument("--built", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    rates = {name: _analytic_rate(name, args.archs) for name in list_spaces()}
    space = load_space("fbnetv3")
    archs = space.sample_batch(np.random.default_rng(1), args.built)
    start = time.perf_counter()
    counted = [_built_macs(space.network_spec(a), space.image_size(a)) for a in archs]
    built_rate = args.built / (time.perf_counter() - start)
    wrong = [a for a, macs in zip(archs, counted, strict=True) if macs != space.macs(a)]
    record = {
        "what": "analytic_macs",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "python": sys.version.split()[0]},
        "versions": {"numpy": np.__version__, "torch": torch.__version__, "timm": timm.__version__},
        "archs": args.archs,
        "built": args.built,
        "analytic_archs_per_s": rates,
        "built_and_counted_archs_per_s": round(built_rate, 4),
        "ratio_fbnetv3": round(rates["fbnetv3"]["from_index_array"] / built_rate),
        "ratio_fbnetv3_from_tuples": round(rates["fbnetv3"]["from_tuples"] / built_rate),
        "built_macs_that_differ": len(wrong),
    }
    print(json.dumps(record, indent=1))
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _analytic_rate(name: str, num_archs: int) -> dict[str, int]:
    """Networks counted per second, best of 5: from an index array, and from a list of tuples (converted first)."""
    space = load_space(name)
    archs: list[Arch] = space.sample_batch(np.random.default_rng(0), num_archs)
    rows = as_indices(archs)
    # Blocks of a few thousand rows stay in the cache.
    blocks = np.array_split(rows, max(1, num_archs // 4096))
    times, tuple_times = [], []
    for _ in range(5):
        start = time.perf_counter()
        for block in blocks:
            space.counts(block)
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
        space.macs_batch(archs)
        tuple_times.append(time.perf_counter() - start)
    return {"from_index_array": round(num_archs / min(times)), "from_tuples": round(num_archs / min(tuple_times))}


def _built_macs(spec: dict[str, Any], size: int) -> int:
    from fvcore.nn import FlopCountAnalysis

    counter = FlopCountAnalysis(build(spec).eval(), torch.zeros(1, spec["in_chans"], size, size))
    by_operator = counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    return int(by_operator["conv"] + by_operator["linear"])


if __name__ == "__main__":
    main()
