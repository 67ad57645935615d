"""Search strategies: a file each in this folder, in an installed package, or named by a study.

Each holds a class ``Strategy`` and a dataclass ``Options`` with its settings and their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import ClassVar, Protocol, runtime_checkable

from accounting.study import plugins
from nas_baseline.proposing.batch_strategy import Targets
from nas_baseline.proposing.proposals import Done, Proposal, Wait
from nas_baseline.spaces.base import Arch, Floats, SearchSpace


class SearchStrategy(Protocol):
    """Proposes networks and is told their values (higher is better).

    A strategy has all of these members. One that subclasses :class:`nas_baseline.proposing.batch_strategy.BatchStrategy`
    only writes ``next_batch``; one that subclasses this protocol inherits the defaults below.
    """

    shares_weights: ClassVar[bool] = False
    """Whether its values are scores with the weights of one supernet, which the caller trains."""
    predicts: ClassVar[bool] = False
    """Whether ``finalists`` can name networks without a value, based on ``predict``."""
    proposed: list[Arch]
    """The networks to try, by trial; a whole batch is added at a time."""

    def ask(self) -> Proposal | Wait | Done:
        """The next proposal, wait, or done (everything proposed and told)."""
        ...

    def tell(self, trial: int, value: float | None) -> None:
        """Record a value; None: the trial failed."""
        ...

    def revise(self, values: Mapping[int, float | None]) -> None:
        """Replace values by better estimates; the default keeps those told first."""
        return

    def best(self, max_macs: float | None = None) -> tuple[Arch, float] | None:
        """The network to trust among those seen within the limit, with its believed value."""
        ...

    def finalists(self, max_macs: int | None, k_predicted: int, k_seen: int) -> list[Arch]:
        """The networks to retrain for one target."""
        ...

    def predict(self, archs: Sequence[Arch]) -> tuple[Floats, Floats] | None:
        """Mean and standard deviation of the values of networks; None where nothing is predicted (yet)."""
        return None

    def extend(self, max_macs: Targets, num_trials: int) -> None:
        """Continue with further targets and ``num_trials`` more trials.

        The default adds no trials: the best network within a further target is taken from those already seen.
        """
        return


@runtime_checkable
class Batched(Protocol):
    """What a strategy's ``Options`` may have besides its fields, so that ``plan`` waits between batches as a run does."""

    def batches(self, num_trials: int) -> tuple[int, int]:
        """How many of ``num_trials`` are proposed before any value is told, and how many at a time after that."""
        ...


MEMBERS = (
    "ask", "best", "extend", "finalists", "predict", "predicts", "shares_weights", "tell",
)  # fmt: skip
"""What the class of a strategy must have; ``proposed`` is its instances'."""


def list_strategies() -> list[str]:
    """The names of the strategies."""
    return plugins.names(plugins.Kind.STRATEGY)


def name_problem(name: object) -> str | None:
    """What is wrong with a strategy's name, with the nearest and all allowed names; None if it exists."""
    if name in list_strategies():
        return None
    return plugins.unknown("strategy", str(name), list_strategies())


def option_problems(name: str, options: Mapping[str, object]) -> list[tuple[str | None, str]]:
    """(option, what is wrong and what is allowed) for a strategy's options; option None: for their combination."""
    return plugins.option_problems(f"strategy '{name}'", _module(name).Options, options)


def shares_weights(name: str) -> bool:
    """Whether a strategy's values are scores with the weights of one supernet, which the caller trains."""
    return bool(_class(name).shares_weights)


def predicts(name: str) -> bool:
    """Whether a strategy can name networks to retrain that have not been tried."""
    return bool(_class(name).predicts)


def batches(name: str, num_trials: int, options: Mapping[str, object]) -> tuple[int, int]:
    """See :class:`Batched`; a strategy that does not say is taken to propose everything at once."""
    made = _module(name).Options(**options)
    return made.batches(num_trials) if isinstance(made, Batched) else (num_trials, num_trials)


def make_strategy(
    name: str,
    space: SearchSpace,
    *,
    seed: int,
    num_trials: int,
    max_macs: Targets,
    **options: object,
) -> SearchStrategy:
    """A strategy by name.

    Raises:
        ValueError: an unknown name or option (the message has the allowed ones), or a value of the wrong type.
        InfeasibleTarget: a target is below the smallest network of the space.

    """
    module = _module(name)
    for _, problem in option_problems(name, options):
        raise ValueError(problem)
    return _class(name)(space, seed, num_trials, max_macs, module.Options(**options))


class _StrategyClass(Protocol):
    """The class of a strategy."""

    shares_weights: bool
    predicts: bool

    def __call__(
        self, space: SearchSpace, seed: int, num_trials: int, max_macs: Targets, options: object
    ) -> SearchStrategy: ...


def _class(name: str) -> _StrategyClass:
    """A strategy's class; ``ValueError`` with what is missing if it is not one."""
    found: _StrategyClass = _module(name).Strategy
    lacks = sorted(member for member in MEMBERS if not hasattr(found, member))
    if lacks:
        raise ValueError(
            f"strategy '{name}': its class Strategy has no {', '.join(lacks)}; subclass BatchStrategy of "
            "nas_baseline.proposing.batch_strategy, or SearchStrategy of nas_baseline.strategies"
        )
    return found


def _module(name: str) -> ModuleType:
    return plugins.load(plugins.Kind.STRATEGY, name)
