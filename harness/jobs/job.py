"""Jobs, which routes propose, and their outcomes, which routes are told: plain values that a ledger can hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from accounting.ledger.outcomes import JobOutcome
from accounting.ledger.records import Phase
from accounting.ledger.specs import NetworkSpec
from harness.jobs.identity import JobId
from harness.jobs.start import FRESH, Start, source_of
from harness.jobs.teacher import Teacher
from harness.jobs.work import Work


@dataclass(frozen=True)
class Prediction:
    """A predictor's estimate of a candidate's ``val_top1``, made before the candidate was trained."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Job:
    """The unit that is scheduled and metered: its identity, what it starts from, and what it does."""

    id: JobId
    phase: Phase
    """The phase under which its cost is recorded."""
    seed: int
    network: NetworkSpec
    """The network's spec (docs/architecture.md), before any channels or blocks are removed."""
    work: Work
    counted_macs: int
    """MACs of the resulting network, not counting zero weights, as far as known beforehand."""
    computed_macs: int
    """MACs that a forward pass on one image computes, including zero weights; they determine the job's cost."""
    start: Start = FRESH
    is_smaller: bool = False
    """Whether channels or blocks of ``network`` have been removed, or are removed by this job."""
    predicted: Prediction | None = None
    teacher: Teacher | None = None
    """The network whose outputs it learns from in addition to the labels, if it trains."""
    tuned_by: tuple[str, ...] = ()
    """The jobs that chose settings of its recipe."""
    image_size: int | None = None
    """Side of its input images in pixels; None: as the dataset gives them."""

    @property
    def name(self) -> str:
        """The name in ledgers, folders and messages."""
        return str(self.id)

    @property
    def route(self) -> str:
        """The route that proposes it."""
        return self.id.route

    @property
    def replicate(self) -> int:
        """The replicate to which it belongs."""
        return self.id.replicate

    @property
    def target(self) -> int | None:
        """The target in MACs; None for work that all targets share."""
        return self.id.target

    @property
    def counts_for_budget(self) -> bool:
        """Whether its cost counts towards its route's budget; exports do not."""
        return self.phase != Phase.EXPORT

    @property
    def source(self) -> str | None:
        """The job whose files it starts from, if any."""
        return source_of(self.start)

    @property
    def sources(self) -> tuple[str, ...]:
        """All jobs whose files it uses: the one it starts from, and the one that trained its teacher."""
        taught = None if self.teacher is None else self.teacher.job
        return tuple(dict.fromkeys(job for job in (self.source, taught) if job is not None))


@dataclass(frozen=True)
class Outcome:
    """A job's outcome: ``metrics`` (``val_top1``, ``macs``, …) if it succeeded, or the ``reason`` if it failed."""

    ok: bool
    metrics: JobOutcome = field(default_factory=JobOutcome)
    reason: str | None = None
    final: bool = True
    """If it failed: whether it would fail again (divergence, an unreachable target); then no later session retries it."""
    damaged: str | None = None
    """If files that it starts from are damaged or missing: the job that wrote them, which is run again first."""
    not_paid_for: bool = False
    """If it failed: whether it never started because its route's budget does not pay for it."""
    stopped: bool = False
    """If it failed: whether it was stopped at a checkpoint because its route's budget does not pay for more of it."""
    ends_session: bool = False
    """If it failed: whether every other job would fail for the same reason (changed data), so no more are started."""


@dataclass(frozen=True)
class Wait:
    """Nothing to propose until another outcome has been told."""


@dataclass(frozen=True)
class Done:
    """Nothing more to propose, ever."""


class Route(Protocol):
    """The state machine of a route in one replicate: it proposes jobs and is told all outcomes of its replicate.

    It is told the outcomes of other routes, too. Its proposals must depend on the set of outcomes told, never on their
    order; so a study is resumed by replaying.
    """

    name: str
    replicate: int

    def ask(self) -> Job | Wait | Done:
        """The next job; or whether to wait for an outcome, or that there is nothing more."""
        ...

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Take the outcome of a job; called once per job."""
        ...


@runtime_checkable
class SearchingRoute(Protocol):
    """What a route that searches may add to :class:`Route`, so that its strategy is tried before anything is paid for."""

    def strategy_problem(self) -> str | None:
        """What is wrong with its strategy, if that is a user's own; None if nothing was found."""
        ...
