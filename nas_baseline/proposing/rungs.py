"""Successive halving: which candidates continue training, and the values assumed for those that do not.

Jamieson and Talwalkar 2016 (arXiv 1502.07943), in the form of ASHA's rungs (Li et al. 2018, arXiv 1810.05934): a rung's best
``1 / eta`` continue to the next, counted over all candidates so far, so a search may propose in batches. Unlike in ASHA,
promotions happen only while nothing is running, so they depend on the set of results, never on their order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable

import numpy as np

LEAST_FOR_A_LINE = 3
"""Fewest candidates for fitting a line; through two, any line fits."""


class Rungs:
    """Results by rung (from 0); candidates compete only within their ``group``."""

    def __init__(self, num_rungs: int, eta: int) -> None:
        if num_rungs < 1 or eta < 2:
            raise ValueError(f"num_rungs must be at least 1 and eta at least 2, not {num_rungs} and {eta}")
        self.eta = eta
        self._groups: dict[int, Hashable] = {}
        self._results: list[dict[int, float | None]] = [{} for _ in range(num_rungs)]
        """Value of each trial, by rung; None if it failed there."""
        self._gone_on: list[set[int]] = [set() for _ in range(num_rungs)]
        """Trials promoted to each rung, whether or not they have a result."""

    def enter(self, trial: int, group: Hashable) -> None:
        """Record a candidate that begins on the first rung."""
        self._groups[trial] = group
        self._gone_on[0].add(trial)

    def record(self, trial: int, rung: int, value: float | None) -> None:
        """Record a candidate's value at the end of a rung; None if it failed."""
        self._results[rung][trial] = value

    def promote(self) -> list[tuple[int, int]]:
        """Promote the best of the lowest rung from which some continue: (trial, rung), in order of trial.

        Of a group with n results on a rung, n / eta (rounded up) continue. Call it only while nothing is running.
        """
        for rung, results in enumerate(self._results[:-1]):
            above = self._gone_on[rung + 1]
            chosen: list[int] = []
            for members in self._by_group(results).values():
                room = math.ceil(len(members) / self.eta) - sum(trial in above for trial in members)
                best = sorted((-value, t) for t in members if t not in above and (value := results[t]) is not None)
                chosen += [trial for _, trial in best[: max(0, room)]]
            if chosen:
                above.update(chosen)
                return [(trial, rung + 1) for trial in sorted(chosen)]
        return []

    def values(self) -> dict[int, float | None]:
        """The value assumed for each candidate on the last rung; None if it failed on any.

        The value of a stopped candidate is extrapolated from rung to rung by a least-squares line through the candidates
        that continued. The slope is limited to 0-1, since those were selected for high values. With fewer than three of
        them, their median rise is used.
        """
        lines = [_line(low, high) for low, high in zip(self._results[:-1], self._results[1:], strict=True)]
        found: dict[int, float | None] = {}
        for trial in sorted(self._results[0]):
            own = [results[trial] for results in self._results if trial in results]
            value = None if None in own else own[-1]
            if value is not None:
                for slope, constant in lines[len(own) - 1 :]:
                    value = slope * value + constant
            found[trial] = value
        return found

    def _by_group(self, results: dict[int, float | None]) -> dict[Hashable, list[int]]:
        found: dict[Hashable, list[int]] = defaultdict(list)
        for trial in sorted(results):
            found[self._groups[trial]].append(trial)
        return found


def _line(low: dict[int, float | None], high: dict[int, float | None]) -> tuple[float, float]:
    """Slope and intercept of the line from values on one rung to those on the next."""
    pairs = [(low[trial], value) for trial, value in high.items()]
    known = np.array([(x, y) for x, y in pairs if x is not None and y is not None]).reshape(-1, 2)
    if len(known) < LEAST_FOR_A_LINE:
        return 1.0, float(np.median(known[:, 1] - known[:, 0])) if len(known) else 0.0
    centred = known - known.mean(0)
    spread = float((centred[:, 0] ** 2).sum())
    slope = min(1.0, max(0.0, float((centred[:, 0] * centred[:, 1]).sum()) / spread)) if spread > 0 else 1.0
    return slope, float(known[:, 1].mean() - slope * known[:, 0].mean())
