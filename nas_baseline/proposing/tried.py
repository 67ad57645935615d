"""Checks that a strategy works as :class:`nas_baseline.strategies.SearchStrategy` demands, by running it on made-up values.

Otherwise a user's own file would first run when its search begins, and first be asked for finalists after that is paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from accounting.study import plugins
from accounting.study.limited import TookTooLong, limited
from accounting.words.plain_text import typed_line
from accounting.words.quantities import macs_text
from nas_baseline.proposing.proposals import Done, Proposal, Wait
from nas_baseline.spaces.base import Arch, Floats, SearchSpace

MAX_ASKED = 200
"""The number of proposals to ask for. A strategy that has more is not asked for its finalists."""
LIMIT_S = 120.0
"""Wall-clock seconds that everything may take."""


class Tried(Protocol):
    """The methods of a strategy that are tried."""

    proposed: list[Arch]

    def ask(self) -> Proposal | Wait | Done:
        """The next proposal, wait, or done."""
        ...

    def tell(self, trial: int, value: float | None) -> None:
        """Record a value."""
        ...

    def finalists(self, max_macs: int | None, k_predicted: int, k_seen: int) -> list[Arch]:
        """The networks to retrain."""
        ...

    def predict(self, archs: Sequence[Arch]) -> tuple[Floats, Floats] | None:
        """Mean and standard deviation, or None."""
        ...


def strategy_problem(
    name: str, strategy: Tried, space: SearchSpace, limits: Sequence[int], num_predicted: int, num_seen: int
) -> str | None:
    """What is wrong with a user's own strategy, in one line that names it and its file; None if nothing is.

    ``strategy`` must be new, and cannot be used afterwards. Finalists are requested for each of ``limits`` (MACs).
    Strategies of this package and of installed ones are not tried.
    """
    file = plugins.file_of(plugins.Kind.STRATEGY, name)
    if file is None:
        return None
    try:
        with limited(LIMIT_S):
            problem = _problem(strategy, space, limits, num_predicted, num_seen)
    except TookTooLong:
        problem = f"has not come to an end within {LIMIT_S:g} s, tried on made-up values"
    except (Exception, SystemExit) as error:
        problem = f"fails: {typed_line(error)}{plugins.line_text(error)}"
    return None if problem is None else f"strategy {name!r} of {file.path} {problem}"


def _problem(
    strategy: Tried, space: SearchSpace, limits: Sequence[int], num_predicted: int, num_seen: int
) -> str | None:
    untold: list[int] = []
    for asked in range(MAX_ASKED + 1):
        found = strategy.ask()
        if isinstance(found, Done):
            _tell(strategy, untold)
            return _finalists_problem(strategy, space, limits, num_predicted, num_seen)
        if isinstance(found, Wait):
            if not untold:
                return "waits for a value, but every value has been told"
            _tell(strategy, untold)
        elif not isinstance(found, Proposal):
            return f"proposes a {type(found).__name__}; ask gives a Proposal, WAIT or DONE"
        elif (problem := _proposal_problem(strategy, space, found, asked)) is not None:
            return problem
        else:
            untold.append(found.trial)
    return None


def _proposal_problem(strategy: Tried, space: SearchSpace, found: Proposal, asked: int) -> str | None:
    if not isinstance(found.trial, int) or not 0 <= found.trial <= asked:
        return f"calls a proposal trial {found.trial!r}; trials are counted from 0"
    if found.trial >= len(strategy.proposed) or strategy.proposed[found.trial] != found.arch:
        return f"proposes trial {found.trial}, which is not in its list `proposed`; add each network there when it is chosen"
    return _network_problem(space, found.arch)


def _tell(strategy: Tried, untold: list[int]) -> None:
    """Tell values between 0 and 1 that do not depend on the order."""
    for trial in untold:
        strategy.tell(trial, 0.5 + (trial * 7919 % 997) / 2000)
    untold.clear()


def _finalists_problem(
    strategy: Tried, space: SearchSpace, limits: Sequence[int], num_predicted: int, num_seen: int
) -> str | None:
    for limit in limits:
        found = strategy.finalists(limit, num_predicted, num_seen)
        if not isinstance(found, list):
            return f"gives a {type(found).__name__} as finalists; a list of networks is needed"
        for arch in found:
            if (problem := _network_problem(space, arch)) is not None:
                return f"as a finalist {problem}"
            if space.macs(arch) > limit:
                return f"gives a finalist of {macs_text(space.macs(arch))} MACs for a target of {macs_text(limit)}"
        if found and (predicted := strategy.predict(found)) is not None and len(predicted) != 2:
            return "predicts no pair; predict gives means and standard deviations, or None"
    return None


def _network_problem(space: SearchSpace, arch: Arch) -> str | None:
    try:
        hash(arch)
        space.macs(arch)
    except Exception as error:  # anything that a space raises for something that is not one of its networks
        return f"proposes {str(arch)[:60]}, which is not a network of the space {space.name!r} ({typed_line(error)})"
    return None
