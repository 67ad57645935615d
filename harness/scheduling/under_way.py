"""The jobs that were given out and not told yet, with sums, so that a thousand are not added up each time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from accounting.ledger.records import Phase
from harness.jobs.job import Job


@dataclass
class OfRoute:
    """Those of one route in one replicate."""

    jobs: dict[str, Job] = field(default_factory=dict)
    """By name."""
    num: Counter[tuple[int | None, Phase]] = field(default_factory=Counter)
    """How many, by target and phase."""
    planned_s: defaultdict[Phase, float] = field(default_factory=lambda: defaultdict(float))
    """Their planned device-seconds, by phase."""


class UnderWay:
    """All of them, by route and replicate."""

    def __init__(self) -> None:
        self._found: defaultdict[tuple[str, int], OfRoute] = defaultdict(OfRoute)
        self._planned_s: dict[str, float] = {}

    def add(self, job: Job, planned_s: float) -> None:
        """Add a job that is given out; one that is there already is replaced."""
        self.remove(job)
        found = self._found[job.route, job.replicate]
        found.jobs[job.name], self._planned_s[job.name] = job, planned_s
        found.num[job.target, job.phase] += 1
        found.planned_s[job.phase] += planned_s

    def remove(self, job: Job) -> None:
        """Remove a job that is told, if it is there."""
        found = self._found[job.route, job.replicate]
        if (known := found.jobs.pop(job.name, None)) is None:
            return
        planned_s = self._planned_s.pop(job.name)
        found.num[known.target, known.phase] -= 1
        found.planned_s[known.phase] -= planned_s
        if not found.jobs:
            found.planned_s.clear()  # so that no rounding stays

    def of(self, route: str, replicate: int) -> OfRoute:
        """Those of a route in a replicate."""
        return self._found[route, replicate]

    def by_route(self) -> Mapping[tuple[str, int], OfRoute]:
        """All, by route and replicate."""
        return self._found
