"""Search strategies on made-up tables of two other kinds of spaces: widths only, and cells.

These networks were never trained. The tables have the sizes of two published ones (NATS-Bench's size space: 5 layers
with 8 widths each; NAS-Bench-201's cells: 6 edges with 5 operations each) and structure of the kind found there, drawn
at random. They show whether settings chosen on NAS-Bench-Macro hold elsewhere, not how good a search is on the
published tables.

Widths: loss falls exponentially in each layer's width, with that layer's weight and rate, more if the narrowest layer
is wide, less if neighbours differ much. Cells: a path from input to output carries the strengths of its operations;
accuracy saturates in the sum over paths, and a network without a path, or without one that has a convolution, is
broken. Both have an effect specific to each network (standard deviation 0.12 points) and seed noise (0.2 to 0.3 points;
more for bad networks). A query returns one noisy answer; regret is the difference to the best network within the
budget, in points of noise-free accuracy. Each space is given as a ``DiscreteSpace`` and as an object with only five
methods and an encoding of its own (widths as raw numbers, operations as zeros and ones).

    python benchmarks/synthetic_spaces.py --repeats 100:110
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from nas_baseline import search
from nas_baseline.spaces.base import Arch, Dimension, DiscreteSpace, Floats, Ints, SearchSpace, as_indices

RESULTS = Path(__file__).parent / "results" / "synthetic_spaces.jsonl"
STRATEGIES = ("random", "regularized_evolution", "predictor_evolution")
FORMS = ("discrete_space", "five_methods")
QUERIES = (20, 50, 100)
OWN_SD, SEED_SD = 0.12, (0.2, 0.3)
BUDGETS = {"median": 0.5, "none": 1.0}  # Share of the members within the budget.

WIDTHS = tuple(range(8, 65, 8))
IMAGE_SIZES = (32, 32, 16, 16, 8)
OPERATIONS = ("none", "skip", "conv1x1", "conv3x3", "pool3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))  # Edges of each path from node 0 to node 3.
CELLS_PER_STAGE, STAGES = 5, ((16, 32), (32, 16), (64, 8))  # Channels and image size.


class Widths(DiscreteSpace):
    """Five layers with eight possible widths each."""

    def __init__(self) -> None:
        dimensions = [Dimension(f"width {i}", WIDTHS, ordered=True) for i in range(len(IMAGE_SIZES))]
        super().__init__("synthetic widths", dimensions)

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs of one 3x3 convolution per layer."""
        width = np.array(WIDTHS)[as_indices(archs)]
        before = np.concatenate([np.full((len(width), 1), 3), width[:, :-1]], axis=1)
        found: Ints = (9 * before * width * np.array(IMAGE_SIZES) ** 2).sum(1)
        return found

    def accuracy(self, archs: Sequence[Arch], rng: np.random.Generator) -> Floats:
        """Noise-free accuracy in per cent, for a table drawn from ``rng``."""
        share = np.array(WIDTHS)[as_indices(archs)] / max(WIDTHS)
        weight, rate = rng.dirichlet(np.full(share.shape[1], 1.5)) * 14, rng.uniform(2.5, 6.0, share.shape[1])
        loss = np.exp(-share * rate) @ weight + rng.uniform(0.5, 1.5) * (1 - share.min(1)) ** 2
        loss += rng.uniform(0.1, 0.4) * np.abs(np.diff(np.log(share), axis=1)).sum(1)
        found: Floats = 93.5 - loss
        return found


class Cells(DiscreteSpace):
    """Cells with four nodes, six edges and five possible operations on each edge."""

    def __init__(self) -> None:
        super().__init__("synthetic cells", [Dimension(f"edge {a} to {b}", OPERATIONS) for a, b in EDGES])

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs of the convolutions in all cells, and of a stem with 3x3 kernels."""
        one = CELLS_PER_STAGE * sum(channels**2 * size**2 for channels, size in STAGES)
        found: Ints = np.array([0, 0, one, 9 * one, 0])[as_indices(archs)].sum(1) + 27 * 16 * 32**2
        return found

    def accuracy(self, archs: Sequence[Arch], rng: np.random.Generator) -> Floats:
        """Noise-free accuracy in per cent, for a table drawn from ``rng``."""
        chosen = as_indices(archs)
        strength = np.array([0.0, 0.25, 0.7, 1.0, 0.1]) * rng.uniform(0.8, 1.2, len(OPERATIONS))
        place = rng.uniform(0.6, 1.4, len(EDGES))
        carried = np.zeros(len(chosen))
        alive, learns = np.zeros(len(chosen), dtype=bool), np.zeros(len(chosen), dtype=bool)
        for edges in PATHS:
            path = chosen[:, edges]
            whole = (path != 0).all(1)
            carried += whole * np.sqrt((strength[path] * place[list(edges)]).sum(1)) * rng.uniform(0.7, 1.3)
            alive |= whole
            learns |= whole & ((path == 2) | (path == 3)).any(1)
        smooth = (chosen == 1).any(1) * rng.uniform(0.2, 0.8)  # A skip anywhere helps the gradient.
        pools = (chosen == 4).sum(1) * rng.uniform(0.1, 0.4)
        found: Floats = 94.5 - 16 * np.exp(-rng.uniform(0.8, 1.2) * carried) + smooth - pools
        found = np.where(learns, found, found - 25)
        return np.where(alive, found, 10.0)


class FiveMethods:
    """The same members with only the five methods that a search space must have."""

    def __init__(self, space: DiscreteSpace) -> None:
        self._space = space
        self._ordered = space.dimensions[0].ordered

    def sample(self, rng: np.random.Generator) -> Arch:
        """Draw one member."""
        return tuple(int(rng.integers(n)) for n in self._space.num_choices)

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Redraw one position."""
        i = int(rng.integers(len(arch)))
        other = int(rng.integers(self._space.num_choices[i] - 1))
        return (*arch[:i], other + (other >= arch[i]), *arch[i + 1 :])

    def crossover(self, a: Arch, b: Arch, rng: np.random.Generator) -> Arch:
        """Take each position from either parent."""
        return tuple(x if m else y for x, y, m in zip(a, b, rng.random(len(a)) < 0.5, strict=True))

    def encode(self, arch: Arch) -> Floats:
        """Widths in channels, or zeros and ones for operations."""
        if self._ordered:
            return np.array([float(WIDTHS[i]) for i in arch])
        return np.eye(len(OPERATIONS))[list(arch)].ravel()

    def macs(self, arch: Arch) -> int:
        """Multiply-accumulates of a member."""
        return self._space.macs(arch)


class Table:
    """Accuracies of all members of a space, drawn from a seed."""

    def __init__(self, space: Widths | Cells, seed: int) -> None:
        rng = np.random.default_rng([seed, 11])
        self.space = space
        archs = list(product(*(range(int(n)) for n in space.num_choices)))
        self.index = {a: i for i, a in enumerate(archs)}
        clean = space.accuracy(archs, rng)
        broken = clean <= 10.0
        self.accuracy = np.where(broken, 10.0, clean + rng.normal(0, OWN_SD, len(archs)))
        noise = rng.uniform(*SEED_SD) * np.sqrt(1 + np.maximum(np.median(clean) - clean, 0) / 5)
        self.noise = np.where(broken, 0.0, noise)
        self.macs = space.macs_batch(archs)

    def budget(self, share: float) -> int | None:
        """The MACs that this share of the members does not exceed; None for all members."""
        return None if share >= 1 else int(np.quantile(self.macs, share))

    def best(self, budget: int | None) -> float:
        """Best accuracy within the budget, per cent."""
        return float(self.accuracy[self.macs <= (np.inf if budget is None else budget)].max())

    def query(self, arch: Arch, rng: np.random.Generator) -> float:
        """One noisy accuracy of a member, per cent."""
        i = self.index[arch]
        return float(self.accuracy[i] + self.noise[i] * rng.normal())


def regret(
    table: Table, space: SearchSpace, strategy: str, budget: int | None, n: int, repeats: range, options: dict[str, Any]
) -> list[float]:
    """Regret of one search per repeat, in accuracy points."""
    found = []
    for repeat in repeats:
        rng = np.random.default_rng([repeat, 12])
        result = search(
            space, lambda arch, rng=rng: table.query(arch, rng), max_macs=budget, num_trials=n, strategy=strategy,
            seed=repeat, **options,
        )  # fmt: skip
        assert result.best is not None and len({a for a, _ in result.history}) == len(result.history) == n
        found.append(table.best(budget) - float(table.accuracy[table.index[result.best]]))
    return found


def main() -> None:
    """Measure all combinations and append them to ``benchmarks/results/synthetic_spaces.jsonl``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", default="100:110", help="first:last+1, per table; below 100 is for tuning")
    parser.add_argument("--tables", default="100:104", help="seeds of the tables; below 100 is for tuning")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--options", type=json.loads, default={}, help="JSON; nothing: the defaults of a study")
    args = parser.parse_args()
    repeats, seeds = (range(*map(int, text.split(":"))) for text in (args.repeats, args.tables))
    start, cpu = time.perf_counter(), time.process_time()
    results: dict[str, Any] = {s: {} for s in args.strategies}
    for space in (Widths(), Cells()):
        tables = [Table(space, seed) for seed in seeds]
        for strategy, form, (label, share), n in product(args.strategies, FORMS, BUDGETS.items(), QUERIES):
            given: SearchSpace = space if form == "discrete_space" else FiveMethods(space)
            found = [
                value for t in tables for value in regret(t, given, strategy, t.budget(share), n, repeats, args.options)
            ]
            cell = f"{space.name.split()[-1]}, {form}, budget {label}, n={n}"
            results[strategy][cell] = _summary(np.array(found))
            print(strategy, cell, results[strategy][cell], flush=True)
    record = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "python": sys.version.split()[0]},
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__},
        "repeats": args.repeats,
        "tables": args.tables,
        "options": args.options,
        "wall_s": round(time.perf_counter() - start, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "results": results,
    }
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _summary(values: Floats) -> dict[str, Any]:
    return {
        "mean": round(float(values.mean()), 4),
        "standard_error": round(float(values.std(ddof=1) / np.sqrt(len(values))), 4),
        "p10_p50_p90": [round(float(q), 4) for q in np.quantile(values, [0.1, 0.5, 0.9])],
        "n": len(values),
    }


if __name__ == "__main__":
    main()
