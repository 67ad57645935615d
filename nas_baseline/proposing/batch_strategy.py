"""Ask and tell in batches: proposals depend on the seed and the set of told values, never on their order.

The next batch is made once all values of the previous ones are told; until then ``ask`` answers ``WAIT``. The same calls
with the same values give the same proposals, which is how a study resumes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import ClassVar

import numpy as np

from nas_baseline.proposing.proposals import DONE, WAIT, Done, InfeasibleTarget, Proposal, Wait
from nas_baseline.spaces.base import Arch, BatchedSpace, Floats, SearchSpace
from nas_baseline.spaces.looped import batched

Targets = Sequence[int] | int | None


class BatchStrategy(ABC):
    """The bookkeeping that strategies share; a subclass makes batches."""

    shares_weights: ClassVar[bool] = False
    predicts: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, seed: int, num_trials: int, max_macs: Targets) -> None:
        if type(num_trials) is not int or num_trials < 1:
            raise ValueError(f"num_trials must be a whole number of at least 1, not {num_trials!r}")
        self.space: BatchedSpace = batched(space)
        self.seed, self.num_trials = seed, num_trials
        self.targets = feasible_targets(self.space, max_macs)
        self.proposed: list[Arch] = []
        self.values: dict[int, float | None] = {}
        self._pools: list[list[Arch]] = []
        """Networks that a subclass drew for each target; empty at first, and again when the targets change."""
        self._asked = 0
        self._num_batches = 0
        self._exhausted = False

    @abstractmethod
    def next_batch(self, rng: np.random.Generator, room: int) -> list[Arch]:
        """At most ``room`` networks never proposed before; an empty list ends the search."""

    def ask(self) -> Proposal | Wait | Done:
        """The next proposal; ``WAIT`` while the batch is incomplete; ``DONE`` once all values are told."""
        if self._asked < len(self.proposed):
            self._asked += 1
            return Proposal(self._asked - 1, self.proposed[self._asked - 1])
        if len(self.values) < len(self.proposed):
            return WAIT
        room = self.num_trials - len(self.proposed)
        if room <= 0 or self._exhausted:
            return DONE
        batch = self.next_batch(np.random.default_rng([self.seed, self._num_batches]), room)[:room]
        self._num_batches += 1
        self._exhausted = not batch
        self.proposed += batch
        return self.ask()

    def predict(self, archs: Sequence[Arch]) -> tuple[Floats, Floats] | None:
        """Mean and standard deviation predicted for networks; None, since there is no predictor here."""
        return None

    def extend(self, max_macs: Targets, num_trials: int) -> None:
        """Continue with ``num_trials`` more networks, within ``max_macs`` alone, based on all values told so far.

        Raises:
            ValueError: a proposal has not been told yet.
            InfeasibleTarget: a limit is below the smallest member.

        """
        if len(self.values) < len(self.proposed):
            raise ValueError(f"{len(self.proposed) - len(self.values)} trials have not been told yet; tell them first")
        self.targets = feasible_targets(self.space, max_macs)
        self.num_trials = len(self.proposed) + num_trials
        self._exhausted = False
        self._pools = []

    def tell(self, trial: int, value: float | None) -> None:
        """Record the value of a trial, higher is better; None or NaN: it failed. Telling the same twice is harmless.

        Raises:
            ValueError: the trial was never proposed, or was told another value before.

        """
        if not 0 <= trial < self._asked:
            raise ValueError(f"trial {trial} was not proposed; proposed so far: 0 to {self._asked - 1}")
        known = None if value is None or not math.isfinite(value) else float(value)
        if self.values.setdefault(trial, known) != known:
            raise ValueError(f"trial {trial} was told {self.values[trial]} before, now {known}")

    def revise(self, values: Mapping[int, float | None]) -> None:
        """Replace values told before by better ones; None: it failed after all.

        Raises:
            ValueError: a trial has not been told yet.

        """
        for trial, value in values.items():
            if trial not in self.values:
                raise ValueError(f"trial {trial} was not told; told so far: {len(self.values)}")
            self.values[trial] = None if value is None or not math.isfinite(value) else float(value)

    def seen(self, max_macs: float | None = None) -> list[tuple[Arch, float]]:
        """(network, value) of the trials that succeeded within the limit, in order."""
        done = [(self.proposed[t], v) for t, v in sorted(self.values.items()) if v is not None]
        if max_macs is None or not done:
            return done
        macs = self.space.macs_batch([a for a, _ in done])
        return [pair for pair, m in zip(done, macs, strict=True) if m <= max_macs]

    def ranked(self, max_macs: float | None = None) -> list[tuple[Arch, float]]:
        """The same, best first, with the value believed of each network; here the value that was told."""
        return sorted(self.seen(max_macs), key=lambda pair: -pair[1])

    def best(self, max_macs: float | None = None) -> tuple[Arch, float] | None:
        """The best network seen within the limit and its believed value, or None if nothing succeeded."""
        ranked = self.ranked(max_macs)
        return ranked[0] if ranked else None

    def finalists(self, max_macs: int | None, k_predicted: int, k_seen: int) -> list[Arch]:
        """The networks to retrain for one target: the ``k_seen`` best that were seen within it."""
        feasible_targets(self.space, max_macs)
        del k_predicted  # Without a predictor there is nothing to predict.
        return [arch for arch, _ in self.ranked(max_macs)[:k_seen]]


def feasible_targets(space: BatchedSpace, max_macs: Targets) -> list[float]:
    """The targets in rising order (infinity: no limit).

    Raises:
        ValueError: a target is not a number.
        InfeasibleTarget: a target is below the smallest member.

    """
    if max_macs is None:
        return [math.inf]
    numbers = (
        list(max_macs) if isinstance(max_macs, Sequence | np.ndarray) and not isinstance(max_macs, str) else [max_macs]
    )
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, Real) or math.isnan(number):
            raise ValueError(f"max_macs is {number!r}; a number of MACs is allowed, several, or None for no limit")
    given = sorted({math.inf if math.isinf(m) else int(m) for m in numbers})
    if not given:
        raise ValueError("max_macs is an empty list: give at least one target, or None for no limit")
    smallest = space.min_macs()
    if given[0] < smallest:
        raise InfeasibleTarget(int(given[0]), smallest, space.name)
    return [float(g) for g in given]
