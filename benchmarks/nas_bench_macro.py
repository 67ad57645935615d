"""Search strategies on NAS-Bench-Macro: regret after 20, 50 and 100 noisy queries, and the predictors' rank correlation.

The data are ``nas-bench-macro_cifar10.json`` (github.com/xiusu/NAS-Bench-Macro), given by ``--table``. A query returns
the result of one of the network's three seeds at random. Regret is the difference to the best network within the MACs
budget, in points of mean accuracy. Identities after a stage's first position commute, so there are 3,969 distinct
networks.

    python benchmarks/nas_bench_macro.py regret --table T.json --repeats 100:200 --strategies predictor_evolution
    python benchmarks/nas_bench_macro.py tau --table T.json
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from scipy.stats import kendalltau

from nas_baseline import search
from nas_baseline.predictor.base import Encoder, Predictor
from nas_baseline.predictor.gaussian_process import GaussianProcess
from nas_baseline.spaces.base import Arch, Dimension, DiscreteSpace, Ints, as_indices

STAGES = (2, 3, 3)
STEM, HEAD, CLASSES, IMAGE = 32, 1280, 10, 32
EXPANSION, KERNEL = (0, 3, 6), (0, 3, 5)
QUERIES = (20, 50, 100)
NUM_DRAWS, SAMPLES = 10, (20, 50, 100, 200)
RESULTS = Path(__file__).parent / "results"
BUDGETS: dict[str, int | None] = {"40M": 40_000_000, "60M": 60_000_000, "80M": 80_000_000, "none": None}


class MacroSpace(DiscreteSpace):
    """Eight positions in stages of 2, 3 and 3; each is identity, MB k3 t3 or MB k5 t6."""

    def __init__(self) -> None:
        super().__init__("nas_bench_macro", [Dimension(f"position {i}", (0, 1, 2)) for i in range(sum(STAGES))])
        self._macs, self._params = _tables()
        self._extra = HEAD * 256 * 16 + HEAD * CLASSES + 27 * STEM * IMAGE**2

    def canonical_indices(self, indices: Ints) -> Ints:
        """Move identities behind the blocks in positions 2 and 3 of the last two stages."""
        out = indices.copy()
        for first in (3, 6):
            swap = (out[:, first] == 0) & (out[:, first + 1] != 0)
            out[swap, first], out[swap, first + 1] = out[swap, first + 1], 0
        return out

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs of the positions, stem and head together."""
        found: Ints = self._macs[np.arange(sum(STAGES)), as_indices(archs)].sum(1) + self._extra
        return found

    def params_batch(self, archs: Sequence[Arch]) -> Ints:
        """Number of weights of the positions, stem and head together."""
        found: Ints = self._params[np.arange(sum(STAGES)), as_indices(archs)].sum(1) + (
            HEAD * 256 + HEAD * CLASSES + 27 * STEM
        )
        return found


def _tables() -> tuple[Ints, Ints]:
    """MACs and weights by position and operation."""
    macs, params = [], []
    width, size = STEM, IMAGE
    for depth in STAGES:
        for i in range(depth):
            out, after = (2 * width, size // 2) if i == 0 else (width, size)
            m, p = [after**2 * width * out if i == 0 else 0], [width * out if i == 0 else 0]
            for t, k in zip(EXPANSION[1:], KERNEL[1:], strict=True):
                inner = t * width
                m.append(size**2 * width * inner + after**2 * inner * (k**2 + out))
                p.append(width * inner + inner * (k**2 + out))
            macs.append(m)
            params.append(p)
            width, size = out, after
    return np.array(macs), np.array(params)


class Table:
    """The published results, by canonical network."""

    def __init__(self, path: Path) -> None:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.space = MacroSpace()
        archs = [tuple(int(c) for c in key) for key in raw]
        wrong = [k for k, m in zip(raw, self.space.macs_batch(archs), strict=True) if raw[k]["flops"] != m]
        if wrong:
            raise ValueError(f"analytic MACs differ from the published ones for {len(wrong)} networks, e.g. {wrong[0]}")
        self.seeds = {a: np.array(r["test_acc"]) for a, r in zip(archs, raw.values(), strict=True)}
        self.mean = {a: float(r["mean_acc"]) for a, r in zip(archs, raw.values(), strict=True)}
        self.num_archs = len(archs)

    def best(self, budget: int | None) -> float:
        """Best mean accuracy within the budget, per cent."""
        macs = self.space.macs_batch(list(self.mean))
        limit = np.inf if budget is None else budget
        return max(m for m, cost in zip(self.mean.values(), macs, strict=True) if cost <= limit)


def regret(
    table: Table, strategy: str, repeats: range, options: dict[str, Any], budgets: dict[str, int | None] | None = None
) -> dict[str, Any]:
    """Mean regret, its standard error and spread, by budget and number of queries."""
    cells: dict[str, Any] = {}
    for label, budget in (budgets or BUDGETS).items():
        best = table.best(budget)
        for n in QUERIES:
            found = []
            for repeat in repeats:
                rng = np.random.default_rng([repeat, 5])
                result = search(
                    table.space,
                    lambda arch, rng=rng: float(table.seeds[arch][rng.integers(3)]),
                    max_macs=budget,
                    num_trials=n,
                    strategy=strategy,
                    seed=repeat,
                    **options,
                )
                assert result.best is not None and len({a for a, _ in result.history}) == len(result.history) == n
                found.append(best - table.mean[result.best])
            cells[f"{label} n={n}"] = summary(found)
            print(strategy, label, n, cells[f"{label} n={n}"], flush=True)
    return cells


def tau(table: Table) -> dict[str, Any]:
    """Kendall's tau between predicted and mean accuracy of networks not sampled, by predictor and sample size."""
    from nas_baseline.predictor.mlp import MLPOptions, MLPPredictor

    archs = sorted({table.space.canonical(a) for a in table.mean})
    truth = np.array([table.mean[a] for a in archs])
    encode = Encoder(table.space, archs)
    inputs = encode(archs)
    cells: dict[str, Any] = {}
    for name in ("gp", "mlp", "mlp, not pretrained"):
        found: dict[int, list[float]] = {n: [] for n in SAMPLES}
        for draw in range(NUM_DRAWS):
            model: Predictor = (
                GaussianProcess() if name == "gp" else MLPPredictor(draw, MLPOptions(pretrained=name == "mlp"))
            )
            model.pretrain(inputs)
            for n in SAMPLES:
                rng = np.random.default_rng([draw, 6])
                rows = rng.permutation(len(archs))
                fit, rest = rows[:n], rows[n:]
                values = np.array([table.seeds[archs[i]][rng.integers(3)] for i in fit])
                model.fit(encode([archs[i] for i in fit]), values)
                found[n].append(float(kendalltau(model.predict(inputs)[0][rest], truth[rest]).statistic))
        cells |= {f"{name} n={n}": summary(found[n]) for n in SAMPLES}
        print(name, {n: cells[f"{name} n={n}"]["mean"] for n in SAMPLES}, flush=True)
    return cells


def summary(values: list[float]) -> dict[str, Any]:
    """Mean, standard error, spread and number of the values."""
    a = np.array(values)
    return {
        "mean": round(float(a.mean()), 4),
        "standard_error": round(float(a.std(ddof=1) / np.sqrt(len(a))), 4) if len(a) > 1 else None,
        "p10_p50_p90": [round(float(q), 4) for q in np.quantile(a, [0.1, 0.5, 0.9])],
        "n": len(a),
    }


def main() -> None:
    """Run one of the two measurements and append it to ``benchmarks/results/``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("what", choices=["regret", "tau"])
    parser.add_argument("--table", type=Path, required=True, help="nas-bench-macro_cifar10.json")
    parser.add_argument("--repeats", default="100:200", help="first:last+1; 0:100 is for tuning")
    parser.add_argument("--strategies", nargs="+", default=["predictor_evolution"])
    parser.add_argument("--options", type=json.loads, default={}, help="JSON; nothing: the defaults of a study")
    args = parser.parse_args()
    table = Table(args.table)
    start, cpu = time.perf_counter(), time.process_time()
    if args.what == "tau":
        results: dict[str, Any] = {"predictors": tau(table)}
    else:
        repeats = range(*map(int, args.repeats.split(":")))
        results = {s: regret(table, s, repeats, args.options) for s in args.strategies}
    record = {
        "what": args.what,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "python": sys.version.split()[0]},
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__},
        "repeats": args.repeats if args.what == "regret" else NUM_DRAWS,
        "options": args.options,
        "macs_reproduced": f"{table.num_archs} of {table.num_archs} published MACs exactly",
        "best_within_budget": {label: round(table.best(b), 3) for label, b in BUDGETS.items()},
        "wall_s": round(time.perf_counter() - start, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "results": results,
    }
    path = RESULTS / f"nas_bench_macro_{args.what}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
