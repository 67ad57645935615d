"""Search strategies on NAS-Bench-Macro: regret after 20, 50 and 100 noisy queries, and the predictors' rank correlation.

Data: ``nas-bench-macro_cifar10.json`` (github.com/xiusu/NAS-Bench-Macro), given by ``--table``. A query returns one of
the network's three seeds at random; regret is accuracy points to the best network within the MACs budget, by mean
accuracy. Identities after a stage's first position commute: 3,969 distinct networks.

    python benchmarks/nas_bench_macro.py regret --table T.json --repeats 100:200 --strategies predictor_evolution
    python benchmarks/nas_bench_macro.py tau --table T.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_baseline.space import Arch, Dimension, DiscreteSpace, Ints, as_indices

STAGES = (2, 3, 3)
STEM, HEAD, CLASSES, IMAGE = 32, 1280, 10, 32
EXPANSION, KERNEL = (0, 3, 6), (0, 3, 5)
BUDGETS: dict[str, int | None] = {"40M": 40_000_000, "60M": 60_000_000, "80M": 80_000_000, "none": None}


class MacroSpace(DiscreteSpace):
    """Eight positions, each identity, MB k3 t3 or MB k5 t6, in stages of 2, 3 and 3."""

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
        """Sum of the positions' MACs, stem and head."""
        found: Ints = self._macs[np.arange(sum(STAGES)), as_indices(archs)].sum(1) + self._extra
        return found

    def params_batch(self, archs: Sequence[Arch]) -> Ints:
        """Sum of the positions' weights, stem and head."""
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
