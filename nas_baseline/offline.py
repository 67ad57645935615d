"""Run any strategy on any space in plain Python: for published tables of results, tests and notebooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nas_baseline.proposing.proposals import Done, Wait
from nas_baseline.spaces.base import Arch, SearchSpace
from nas_baseline.strategies import make_strategy


@dataclass(frozen=True)
class SearchResult:
    """The result of :func:`search`: ``best`` is the network to trust (within ``max_macs``), ``value`` its believed value.

    ``history`` lists (network, told value or None) in the order of the queries.
    """

    best: Arch | None
    value: float | None
    history: list[tuple[Arch, float | None]]


def search(
    space: SearchSpace,
    evaluate: Callable[[Arch], float | None],
    *,
    max_macs: int | None = None,
    num_trials: int,
    strategy: str = "predictor_evolution",
    seed: int = 0,
    **options: object,
) -> SearchResult:
    """Search ``space`` with ``num_trials`` evaluations, and return the best network.

    ``evaluate`` returns a network's value (higher is better), or None if it failed; its exceptions pass through.
    ``max_macs`` is one limit in MACs per image, or None.

    Raises:
        ValueError: an unknown strategy or option, or an option of the wrong type.
        InfeasibleTarget: no network of the space is within ``max_macs``.

    """
    if max_macs is not None and np.ndim(max_macs) > 0:
        raise ValueError(f"max_macs is {max_macs!r}; search() takes one limit, make_strategy() several")
    searcher = make_strategy(strategy, space, seed=seed, num_trials=num_trials, max_macs=max_macs, **options)
    history: list[tuple[Arch, float | None]] = []
    while not isinstance(work := searcher.ask(), Done):
        if isinstance(work, Wait):
            raise RuntimeError(f"strategy '{strategy}' waits although every proposal was told")
        value = evaluate(work.arch)
        history.append((work.arch, value))
        searcher.tell(work.trial, value)
    best = searcher.best(max_macs)
    return SearchResult(best[0], best[1], history) if best else SearchResult(None, None, history)
