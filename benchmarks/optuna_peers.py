"""Optuna's TPE and Gaussian process against ours on NAS-Bench-Macro: regret after 20, 50 and 100 noisy queries.

It needs ``pip install optuna`` (extra ``bench``) and the table of ``nas_bench_macro.py``, and uses the same queries,
budgets and repeats as that. All searchers know the MACs of a network before they pay for it. If Optuna proposes a
network above the budget, it is told that a constraint is violated, and no query is spent. If it proposes a known
network again, it is told the known value, also without a query. After ``MOST_TRIES`` of those in a row, it is given a
random network. The network that counts is the best measured one within the budget.

    python benchmarks/optuna_peers.py --table T.json --repeats 100:200 --peers tpe predictor_evolution
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from nas_bench_macro import BUDGETS, QUERIES, STAGES, Table, regret, summary

from nas_baseline.spaces.base import Arch

RESULTS = Path(__file__).parent / "results" / "optuna_peers.jsonl"
MOST_TRIES = 20
VIOLATION = "macs_above"
OPTUNAS = ("tpe", "tpe_multivariate", "gp")
POSITIONS: dict[str, optuna.distributions.BaseDistribution] = {
    f"position {i}": optuna.distributions.CategoricalDistribution((0, 1, 2)) for i in range(sum(STAGES))
}


def sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler for one of ``OPTUNAS``, with Optuna's default settings."""
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=name == "tpe_multivariate")


def searched(table: Table, name: str, budget: int | None, repeat: int) -> list[float]:
    """Mean accuracy (per cent) of the best measured network after each number of queries in ``QUERIES``."""
    rng = np.random.default_rng([repeat, 5])
    study = optuna.create_study(direction="maximize", sampler=sampler(name, repeat))
    measured: dict[Arch, float] = {}
    found: list[float] = []
    tries = 0

    def measure(arch: Arch) -> float:
        measured[arch] = float(table.seeds[arch][rng.integers(3)])
        if len(measured) in QUERIES:
            found.append(table.mean[max(measured, key=lambda a: measured[a])])
        return measured[arch]

    while len(found) < len(QUERIES):
        trial = study.ask(POSITIONS)
        arch = table.space.canonical(tuple(trial.params[position] for position in POSITIONS))
        above = _above(table, arch, budget)
        trial.set_constraint(VIOLATION, above)
        if above == 0 and arch not in measured:
            tries = 0
            study.tell(trial, measure(arch))
            continue
        study.tell(trial, measured.get(arch, 0.0))
        tries += 1
        if tries == MOST_TRIES:
            tries = 0
            fresh = _fresh(table, budget, measured, rng)
            params = dict(zip(POSITIONS, fresh, strict=True))
            study.add_trial(
                optuna.trial.create_trial(
                    params=params, distributions=POSITIONS, value=measure(fresh), constraints={VIOLATION: 0.0}
                )
            )
    return found


def _above(table: Table, arch: Arch, budget: int | None) -> float:
    return 0.0 if budget is None else max(0.0, table.space.macs(arch) / budget - 1)


def _fresh(table: Table, budget: int | None, measured: dict[Arch, float], rng: np.random.Generator) -> Arch:
    archs = sorted({table.space.canonical(arch) for arch in table.mean} - set(measured))
    while True:
        arch = archs[rng.integers(len(archs))]
        if _above(table, arch, budget) == 0:
            return arch


def peer(table: Table, name: str, repeats: range, budgets: dict[str, int | None]) -> dict[str, Any]:
    """Regret in accuracy points, by budget and number of queries, as :func:`nas_bench_macro.regret` gives it."""
    cells: dict[str, Any] = {}
    for label, budget in budgets.items():
        best = table.best(budget)
        rows = np.array([searched(table, name, budget, repeat) for repeat in repeats])
        for n, column in zip(QUERIES, rows.T, strict=True):
            cells[f"{label} n={n}"] = summary([best - value for value in column])
            print(name, label, n, cells[f"{label} n={n}"], flush=True)
    return cells


def main() -> None:
    """Measure each peer in turn and append one row to ``benchmarks/results/optuna_peers.jsonl``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--table", type=Path, required=True, help="nas-bench-macro_cifar10.json")
    parser.add_argument("--repeats", default="100:200", help="first:last+1; 0:100 is for tuning")
    parser.add_argument("--peers", nargs="+", default=["tpe", "tpe_multivariate", "gp", "predictor_evolution"])
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS), choices=list(BUDGETS))
    args = parser.parse_args()
    budgets = {label: BUDGETS[label] for label in args.budgets}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    torch.set_num_threads(1)
    table, repeats = Table(args.table), range(*map(int, args.repeats.split(":")))
    results, cpu_s = {}, {}
    for name in args.peers:
        began = time.process_time()
        is_optunas = name in OPTUNAS
        results[name] = peer(table, name, repeats, budgets) if is_optunas else regret(table, name, repeats, {}, budgets)
        cpu_s[name] = round(time.process_time() - began, 1)
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "python": sys.version.split()[0]},
        "versions": {"optuna": optuna.__version__, "numpy": np.__version__, "torch": torch.__version__},
        "repeats": args.repeats,
        "cpu_s": cpu_s,
        "results": results,
    }
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
