"""Jobs, which a route proposes, and their outcomes, which it is told: plain values that a ledger can hold."""

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
    """A predictor's estimate of a candidate's val_top1, made before it was trained."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Job:
    """The unit that is scheduled and metered: which job it is, what it starts from, and what it does."""

    id: JobId
    phase: Phase
    """What its cost is called in the bill."""
    seed: int
    network: NetworkSpec
    """A network spec (docs/architecture.md), as wide as before anything was removed."""
    work: Work
    counted_macs: int
    """MACs of the resulting network, as far as known beforehand, without those of zeros."""
    computed_macs: int
    """MACs that a pass on one image computes, including those of zeros: the job's cost depends on them."""
    start: Start = FRESH
    is_smaller: bool = False
    """Whether channels or blocks of ``network`` have been removed, or are removed by this job."""
    predicted: Prediction | None = None
    teacher: Teacher | None = None
    """Whose outputs it learns from in addition to the labels, if it trains."""
    tuned_by: tuple[str, ...] = ()
    """Jobs that chose settings of its recipe."""
    image_size: int | None = None
    """Pixels of a side of the images that it is shown; None: as the dataset gives them."""

    @property
    def name(self) -> str:
        """Its text in ledgers, folders and messages."""
        return str(self.id)

    @property
    def route(self) -> str:
        """The route that proposes it."""
        return self.id.route

    @property
    def replicate(self) -> int:
        """Which repetition it belongs to."""
        return self.id.replicate

    @property
    def target(self) -> int | None:
        """The target in MACs that it is for; None for work that all targets share."""
        return self.id.target

    @property
    def counts_for_budget(self) -> bool:
        """Whether its cost counts as its route's spending; exports count for no route."""
        return self.phase != Phase.EXPORT

    @property
    def source(self) -> str | None:
        """The job whose files it starts from."""
        return source_of(self.start)

    @property
    def sources(self) -> tuple[str, ...]:
        """Every job whose files it uses: what it starts from, and the one that trained its teacher."""
        taught = None if self.teacher is None else self.teacher.job
        return tuple(dict.fromkeys(job for job in (self.source, taught) if job is not None))


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: ``metrics`` if it is ok (``val_top1``, ``macs``, …), or the ``reason`` if it failed."""

    ok: bool
    metrics: JobOutcome = field(default_factory=JobOutcome)
    reason: str | None = None
    final: bool = True
    """If it failed: whether it would fail again (divergence, an unreachable target), in which case no session tries it."""
    damaged: str | None = None
    """If files that it starts from are damaged or missing: the job that made them, which is run again first."""
    not_paid_for: bool = False
    """If it failed: whether it was never begun because its route's budget does not pay for it."""
    stopped: bool = False
    """If it failed: whether it was stopped at a checkpoint because its route's budget does not pay for more of it."""
    ends_session: bool = False
    """If it failed: whether every other job would fail for the same reason (other data), so none is begun."""


@dataclass(frozen=True)
class Wait:
    """Nothing to propose until another outcome is told."""


@dataclass(frozen=True)
class Done:
    """Nothing more to propose, ever."""


class Route(Protocol):
    """A state machine of one replicate: proposes jobs, is told every outcome of its replicate (other routes' too).

    What it proposes depends on the set of outcomes told, never on their order; so a study resumes by replaying.
    """

    name: str
    replicate: int

    def ask(self) -> Job | Wait | Done:
        """The next job."""
        ...

    def tell(self, job: Job, outcome: Outcome) -> None:
        """An outcome, once per job."""
        ...


@runtime_checkable
class SearchingRoute(Protocol):
    """What a route that searches may have besides :class:`Route`: its strategy is then tried before it is paid for."""

    def strategy_problem(self) -> str | None:
        """What is wrong with its strategy, if that is a user's own; None: nothing was found."""
        ...
