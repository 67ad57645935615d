"""What a study has begun, as a route's section asks when it says which of its keys are bound."""

from __future__ import annotations

from typing import Protocol

from accounting.ledger.records import Phase


class Begun(Protocol):
    """Attempts of one route that were begun."""

    def phase(self, *phases: Phase) -> bool:
        """Whether one was begun in one of ``phases``."""
        ...

    def steps(self, phase: Phase) -> frozenset[str]:
        """Steps (of :class:`harness.jobs.identity.JobId`) of those that were begun in a phase."""
        ...

    def methods(self) -> frozenset[str]:
        """Pruning methods that were begun."""
        ...
