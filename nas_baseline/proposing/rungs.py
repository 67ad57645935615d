"""Successive halving: which candidates are trained further, and what one that was not is taken to be worth.

Jamieson and Talwalkar 2016 (arXiv 1502.07943), in the form of ASHA's rungs (Li et al. 2018, arXiv 1810.05934): a rung's best
``1 / eta`` go on to the next, counted over all candidates so far, so that a search may propose in batches. Unlike ASHA's,
promotions are made only where nothing is under way: they hang on the set of results, never on their order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable

import numpy as np


class Rungs:
    """Results by rung, from 0; candidates of one ``group`` compete with each other and with no other's."""

    def __init__(self, num_rungs: int, eta: int) -> None:
        if num_rungs < 1 or eta < 2:
            raise ValueError(f"num_rungs must be at least 1 and eta at least 2, not {num_rungs} and {eta}")
        self.eta = eta
        self._groups: dict[int, Hashable] = {}
        self._results: list[dict[int, float | None]] = [{} for _ in range(num_rungs)]
        """By rung the value of each trial; None: it failed there."""
        self._gone_on: list[set[int]] = [set() for _ in range(num_rungs)]
        """By rung the trials that were sent there, results or not."""

    def enter(self, trial: int, group: Hashable) -> None:
        """Note a candidate that begins at the first rung."""
        self._groups[trial] = group
        self._gone_on[0].add(trial)

    def record(self, trial: int, rung: int, value: float | None) -> None:
        """Note a candidate's value at the end of a rung; None: it failed."""
        self._results[rung][trial] = value

    def promote(self) -> list[tuple[int, int]]:
        """Send the best of the lowest rung from which some go on to the next: (trial, rung), in order of trial.

        Of a group with n results at a rung, n / eta are sent on, rounded up. To be asked where nothing is under way.
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
        """What each candidate is taken to be worth at the last rung; None where it failed at any.

        One that was stopped is given, for each rung that it was not at, the median rise of those that were.
        """
        rises = self._rises()
        found: dict[int, float | None] = {}
        for trial in sorted(self._results[0]):
            own = [results[trial] for results in self._results if trial in results]
            failed = any(value is None for value in own)
            found[trial] = None if failed else float(own[-1] or 0.0) + sum(rises[len(own) - 1 :])
        return found

    def _rises(self) -> list[float]:
        """Median rise from each rung to the next; 0 where none went on."""
        found = []
        for low, high in zip(self._results[:-1], self._results[1:], strict=True):
            pairs = ((low[trial], value) for trial, value in high.items())
            rises = [after - before for before, after in pairs if before is not None and after is not None]
            found.append(float(np.median(rises)) if rises else 0.0)
        return found

    def _by_group(self, results: dict[int, float | None]) -> dict[Hashable, list[int]]:
        found: dict[Hashable, list[int]] = defaultdict(list)
        for trial in sorted(results):
            found[self._groups[trial]].append(trial)
        return found
