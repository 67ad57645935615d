"""What a study has begun; a route's section uses this to decide which of its keys are bound."""

from __future__ import annotations

from typing import Protocol

from accounting.ledger.records import Phase


class Begun(Protocol):
    """The attempts of one route that have begun."""

    def phase(self, *phases: Phase) -> bool:
        """Whether an attempt has begun in one of ``phases``."""
        ...

    def steps(self, phase: Phase) -> frozenset[str]:
        """Steps (of :class:`harness.jobs.identity.JobId`) of the attempts that have begun in a phase."""
        ...

    def methods(self) -> frozenset[str]:
        """Pruning methods with which an attempt has begun."""
        ...
