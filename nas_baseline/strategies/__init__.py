"""Search strategies, one file each: a module here with ``Strategy`` and ``Options`` is found by its file name."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
from collections.abc import Mapping
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


def name_problem(name: object) -> str | None:
    """What is wrong with the name of a strategy, with the nearest and all that are allowed; None where it is one."""
    if name in list_strategies():
        return None
    return f"strategy '{name}' is not known{_hint(str(name), list_strategies())}"


def option_problems(name: str, options: Mapping[str, Any]) -> list[tuple[str | None, str]]:
    """(option, what is wrong and what is allowed) of each option of a strategy; None: of how they go together."""
    taken = _module(name).Options
    defaults = {f.name: f.default for f in dataclasses.fields(taken)}
    found: list[tuple[str | None, str]] = []
    for key, value in options.items():
        if key not in defaults:
            found.append((key, f"strategy '{name}' has no option '{key}'{_hint(str(key), list(defaults))}"))
            continue
        kind = type(defaults[key])
        if type(value) is not kind and not (kind is float and type(value) is int):
            allowed_text = f"{_KINDS[kind]} is allowed, such as {defaults[key]!r}"
            found.append((key, f"strategy '{name}': {key} is {value!r}; {allowed_text}"))
    if not found:
        try:
            taken(**options)
        except ValueError as error:
            named = [key for key in options if key in str(error)]
            found.append((named[0] if named else None, f"strategy '{name}': {error}"))
    return found


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
    for _, problem in option_problems(name, options):
        raise ValueError(problem)
    strategy: SearchStrategy = module.Strategy(space, seed, num_trials, max_macs, module.Options(**options))
    return strategy


_KINDS = {int: "a whole number", float: "a number", str: "a name"}


def _module(name: str) -> Any:
    if problem := name_problem(name):
        raise ValueError(problem)
    return importlib.import_module(f"nas_baseline.strategies.{name}")


def _hint(given: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(given, allowed, n=1)
    return (f"; did you mean '{near[0]}'?" if near else ";") + f" allowed: {', '.join(allowed) or 'none'}"
