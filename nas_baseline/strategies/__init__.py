"""Search strategies, one file each: a module here with ``Strategy`` and ``Options`` is found by its file name."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
from typing import Any, Protocol

from nas_baseline.search.batch_strategy import Targets
from nas_baseline.search.proposals import Done, Proposal, Wait
from nas_baseline.spaces.base import Arch, SearchSpace


class SearchStrategy(Protocol):
    """Proposes networks and is told their values (higher is better)."""

    proposed: list[Arch]
    """What was decided to be tried, by trial; a whole batch at a time."""

    def ask(self) -> Proposal | Wait | Done:
        """Return the next proposal, wait, or done (everything proposed and told)."""
        ...

    def tell(self, trial: int, value: float | None) -> None:
        """Record a value; None: the trial failed."""
        ...

    def best(self, max_macs: float | None = None) -> tuple[Arch, float] | None:
        """Return the network to trust among those seen within the limit, with its believed value."""
        ...

    def finalists(self, max_macs: int | None, k_predicted: int, k_seen: int) -> list[Arch]:
        """Return the networks to retrain for one target."""
        ...


def list_strategies() -> list[str]:
    """Return the names of the strategies."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def shares_weights(name: str) -> bool:
    """Return whether a strategy's values are scores with the weights of one supernet, which the caller trains."""
    return bool(getattr(_module(name).Strategy, "shares_weights", False))


def make_strategy(
    name: str,
    space: SearchSpace,
    *,
    seed: int,
    num_trials: int,
    max_macs: Targets,
    **options: Any,
) -> SearchStrategy:
    """Return a strategy by name.

    Raises ValueError for an unknown name or option (naming the allowed ones) or a value of another type, and
    InfeasibleTarget for a target below the smallest network of the space.
    """
    module = _module(name)
    defaults = {f.name: f.default for f in dataclasses.fields(module.Options)}
    for key, value in options.items():
        if key not in defaults:
            raise ValueError(f"strategy '{name}' has no option '{key}'{_hint(key, list(defaults))}")
        kind = type(defaults[key])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(
                f"strategy '{name}': {key} is {value!r}; {_KINDS[kind]} is allowed, such as {defaults[key]!r}"
            )
    strategy: SearchStrategy = module.Strategy(space, seed, num_trials, max_macs, module.Options(**options))
    return strategy


_KINDS = {int: "a whole number", float: "a number", str: "a name"}


def _module(name: str) -> Any:
    if name not in list_strategies():
        raise ValueError(f"strategy '{name}' is not known{_hint(name, list_strategies())}")
    return importlib.import_module(f"nas_baseline.strategies.{name}")


def _hint(given: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(given, allowed, n=1)
    return (f"; did you mean '{near[0]}'?" if near else ";") + f" allowed: {', '.join(allowed) or 'none'}"
