"""What a route proposes and what it is told: jobs and their outcomes, plain values that a ledger can hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from accounting.ledger.records import Phase


@dataclass(frozen=True)
class Job:
    """The unit that is scheduled and metered.

    ``job`` is its name, unique in the study and the same every time the study is replayed. ``target`` is in MACs, or
    ``None`` for work that all targets share. ``network`` is a network spec (docs/architecture.md), ``network_macs`` the
    MACs of what will come out, as far as known beforehand, without those of zeros. ``computed_macs`` are those that a pass
    multiplies, zeros included (None: as many); ``is_smaller``: channels or blocks of ``network`` are gone.

    The rest says what to do: start from the weights (and masks) of job ``init_from``, or from the weights it inherits
    from a supernet (``inherit``: its space and architecture); take the structure of ``structure_from`` (its masks or
    its widths) on fresh weights, with ``shuffle_masks`` at random places; prune as ``prune`` says; train by ``recipe``
    until ``stop_epoch``; score the architectures ``score`` with a supernet's weights; scan as ``analysis`` says; deliver
    as ``deliver`` says. ``predicted`` (``mean``, ``sd``) is what a predictor said of a candidate's val_top1 before.
    """

    job: str
    route: str
    phase: Phase
    target: int | None
    replicate: int
    seed: int
    network: dict[str, Any]
    network_macs: int
    recipe: dict[str, Any] = field(default_factory=dict)
    init_from: str | None = None
    structure_from: str | None = None
    shuffle_masks: bool = False
    inherit: dict[str, Any] | None = None
    checkpoint: str | None = None
    prune: dict[str, Any] | None = None
    stop_epoch: int | None = None
    score: list[list[int]] | None = None
    predicted: dict[str, float] | None = None
    analysis: dict[str, Any] | None = None
    deliver: dict[str, Any] | None = None
    computed_macs: int | None = None
    is_smaller: bool = False

    @property
    def pass_macs(self) -> int:
        """MACs that one pass on one image computes: what it costs."""
        return self.network_macs if self.computed_macs is None else self.computed_macs


@dataclass(frozen=True)
class Outcome:
    """What came of a job: ``metrics`` of an ok one (``val_top1``, ``macs``, …), or ``reason`` of a failed one."""

    ok: bool
    metrics: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    final: bool = True
    """Of a failed one: whether it would fail again (divergence, an unreachable target), so that no session tries it."""
    damaged: str | None = None
    """Of a failed one: the job whose files it starts from, where those are damaged or gone; that one is run again first."""
    ends_session: bool = False
    """Of a failed one: whether every other job would fail for the same reason (other data), so that none is begun."""


@dataclass(frozen=True)
class Wait:
    """Nothing to propose until an outcome is told."""


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
