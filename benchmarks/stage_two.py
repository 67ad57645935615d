"""The computing time of a search on the full ``fbnetv3`` space: stage 2 for one target, and refusing an impossible one.

Stage 1 is given made-up accuracies, which rise with the MACs, with noise; the predictor's work does not depend on them.
``finalists``, the adaptive genetic search over the predictor with its defaults, is timed after ``--num-trials`` trials,
in CPU seconds of one thread. Appends a row per predictor to results/stage_two.jsonl.

    OMP_NUM_THREADS=1 python benchmarks/stage_two.py [--num-trials 100] [--max-macs 400000000]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from table import machine

from nas_baseline.proposing.proposals import Done, InfeasibleTarget, Proposal
from nas_baseline.spaces import load_space
from nas_baseline.strategies import make_strategy
from nas_baseline.strategies.predictor_evolution import PREDICTORS

RESULTS = Path(__file__).with_name("results") / "stage_two.jsonl"


def measure(predictor: str, num_trials: int, max_macs: int) -> dict[str, object]:
    """The row of one predictor."""
    space, rng = load_space("fbnetv3"), np.random.default_rng(0)
    strategy = make_strategy(
        "predictor_evolution", space, seed=0, num_trials=num_trials, max_macs=max_macs, predictor=predictor
    )
    begin_s = time.process_time()
    while not isinstance(work := strategy.ask(), Done):
        assert isinstance(work, Proposal), "everything was told"
        strategy.tell(work.trial, 0.6 + 0.05 * float(np.log(space.macs(work.arch) / 1e8)) + 0.003 * rng.normal())
    stage_1_s, begin_s, begin_wall_s = time.process_time() - begin_s, time.process_time(), time.perf_counter()
    finalists = strategy.finalists(max_macs, 1, 1)
    stage_2_s, stage_2_wall_s = time.process_time() - begin_s, time.perf_counter() - begin_wall_s
    begin_wall_s = time.perf_counter()
    try:
        make_strategy("predictor_evolution", load_space("fbnetv3"), seed=0, num_trials=num_trials, max_macs=1_000_000)
    except InfeasibleTarget as refusal:
        refused = {"refused_s": round(time.perf_counter() - begin_wall_s, 2), "refusal": str(refusal)}
    return {
        "predictor": predictor,
        "num_trials": num_trials,
        "max_macs": max_macs,
        "stage_1_cpu_s": round(stage_1_s, 2),
        "stage_2_cpu_s": round(stage_2_s, 2),
        "stage_2_wall_s": round(stage_2_wall_s, 2),
        "finalists_macs": [space.macs(arch) for arch in finalists],
        **refused,
    }


def main() -> None:
    """Measure each predictor, print its row and append it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-trials", type=int, default=100)
    parser.add_argument("--max-macs", type=int, default=400_000_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine("cpu", ("torch", "numpy", "scipy"))
    for predictor in PREDICTORS:
        row = facts | measure(predictor, options.num_trials, options.max_macs)
        print(json.dumps(row, indent=1))
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
