"""An answer: one typed value from the ledger to the page. JSON and sentences are made from it at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from accounting.audit.meanings import STANDING, Standing
from accounting.cost.equivalence import NOTHING_DECLARED, Equivalence, Moved
from accounting.cost.shares import HEADLINE_POLICY
from accounting.study.facts import DeclaredParent
from reports.answers.refusals import Why
from reports.compare.accuracy import decide_accuracy
from reports.compare.rule import Verdict
from reports.compare.values import CheapestOfAll, CostComparison, WhoPays
from reports.data.extensions import Extension, Growth
from reports.statistics import Estimate


@dataclass(frozen=True)
class Question:
    """The question, and the study to which it is put.

    ``target`` is in MACs of one image, ``unit`` is that of all costs, and ``replicates`` is the planned number.
    ``measured_targets`` are those at which both contenders of the headline have a network in some common replicate.
    ``extensions`` are the changes of its config, ``growth`` is what they come to (None: it did not grow). ``num_looks``
    counts how often replicates were added after results had been seen. ``declared`` is the declared cost of the parent,
    and ``targets`` are the study's own, ascending.
    """

    target: int
    study: str
    dataset: str
    unit: str
    measured_targets: tuple[int, ...]
    replicates: int
    extensions: tuple[Extension, ...] = ()
    growth: Growth | None = None
    num_looks: int = 0
    declared: DeclaredParent | None = None
    targets: tuple[int, ...] = ()
    equivalence: Equivalence = NOTHING_DECLARED
    """What hours on other GPU models than the study's reference count as."""
    moved: Moved | None = None
    """How far the ends of the ranges of these rates move the study's hours; None if they move none."""
    standing: Standing = STANDING
    """Whether the verdict stands, by the audit of the ledger."""


@dataclass(frozen=True)
class Accuracy:
    """Accuracies of the delivered networks of one kind, as fractions 0-1."""

    test_top1: Estimate
    val_top1: Estimate


@dataclass(frozen=True)
class Comparison:
    """A challenger compared with pruning at one target, over the ``n`` replicates in which both are done.

    ``difference`` is the pruned network's test accuracy minus the challenger's, paired by replicate.
    """

    challenger: str
    n: int
    difference: Estimate
    by_policy: dict[str, CostComparison]

    @property
    def headline(self) -> CostComparison:
        """The cost comparison under the headline policy."""
        return self.by_policy[HEADLINE_POLICY]

    @property
    def more_accurate(self) -> Verdict:
        """Which of the two is more accurate: shown if the whole interval of the difference is on one side of 0."""
        return decide_accuracy(self.difference)

    @property
    def ratios(self) -> dict[str, Estimate]:
        """Cost ratios (challenger / prune) by charge policy."""
        return {policy: costs.cost_ratio for policy, costs in self.by_policy.items()}


@dataclass(frozen=True)
class Measured:
    """The answer at a target for which both contenders of the headline delivered networks.

    ``further`` has the comparisons of other contenders, ``accuracy`` every kind of delivered network by label, ``cheapest``
    the cheapest contender of all by charge policy, and ``pays`` the parts of every contender's cost with break-evens (None
    if there is no common accuracy).
    """

    question: Question
    headline: Comparison
    further: tuple[Comparison, ...]
    accuracy: dict[str, Accuracy]
    cheapest: dict[str, CheapestOfAll | None] = field(default_factory=dict)
    pays: WhoPays | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all planned replicates are included."""
        return self.headline.n >= self.question.replicates


@dataclass(frozen=True)
class Interpolated:
    """The answer at a target between two measured ones; nothing was trained at it."""

    question: Question
    low: Measured
    high: Measured
    headline: Comparison
    further: tuple[Comparison, ...]
    accuracy: dict[str, Accuracy]
    left_out_error: float | None = None
    """The factor by which interpolation misses measured targets; None if fewer than three were measured."""


@dataclass(frozen=True)
class Refused:
    """No answer, and why; other contenders than the headline's may have been measured nevertheless (``further``)."""

    question: Question
    why: Why
    further: tuple[Comparison, ...]


Answer = Measured | Interpolated | Refused


@dataclass(frozen=True)
class Line:
    """A sentence, and the word from which a page derives its colour."""

    sentence: str
    verdict: str


def status_of(given: Answer) -> str:
    """``measured``, ``interpolated`` or ``refused``."""
    return type(given).__name__.lower()
