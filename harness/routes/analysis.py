"""Scans of the trained parent: which layer roles tolerate sparsity, and how much the whole network does without fine-tuning.

The route delivers nothing. Its cost is its own and is charged to no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from accounting.ledger.records import Phase
from accounting.words.names import PRUNE, Role, RouteWords
from harness.config.caps import Caps
from harness.config.recipe import Recipe
from harness.config.route_section import RouteSection
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.start import WeightsOf
from harness.jobs.work import Scan
from harness.routes.base import Queue, View, pretrain_id

if TYPE_CHECKING:
    from harness.config.study import StudyConfig
WORDS = RouteWords(
    Role.MEASURES, "analysis", rank=6, phrase="the analysis",
    summary="Scan how much sparsity each type of layer tolerates.",
)  # fmt: skip


class Config(RouteSection):
    """Scans of the trained parent without fine-tuning: each role alone, and the whole network."""

    sparsities: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.5, 0.7, 0.8, 0.9, 0.95, 0.99], min_length=1, max_length=1000
    )
    """Shares of weights that are set to zero, one after another."""
    criteria: list[Literal["global_magnitude", "uniform_magnitude"]] = Field(["global_magnitude", "uniform_magnitude"])
    """How the weights are chosen: by one threshold, or the same share of each layer."""

    LISTENS_TO: ClassVar[tuple[str, ...]] = (PRUNE,)
    ALONE: ClassVar[bool] = False

    def rehearsed(self, caps: Caps, base: Recipe) -> Self:
        """See :class:`RouteSection`; keeps only the first and the last of the sparsities."""
        return self.with_values({"sparsities": [*dict.fromkeys((self.sparsities[0], self.sparsities[-1]))]})

    def problems(self, study: StudyConfig, route: str) -> Iterator[str]:
        """See :class:`RouteSection`."""
        if PRUNE not in study.routes.names:
            yield f"routes.{route} scans the prune route's parent; add prune or leave it out"


class Route:
    """One replicate: a single job, proposed once the prune route has trained the parent."""

    name = "analysis"

    def __init__(self, view: View, replicate: int, config: Config) -> None:
        self.replicate = replicate
        self._view = view
        self._config = config
        self._queue = Queue()
        self._waits = True

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`."""
        return self._queue.next(more=self._waits)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`; listens to the prune route."""
        if job.id == pretrain_id(self.replicate) and self._waits:
            self._waits = False
            if outcome.ok:
                self._queue.put(self._scan(job))
        else:
            self._queue.record(job, outcome)

    def _scan(self, pretrain: Job) -> Job:
        return self._view.job(
            JobId(self.name, self.replicate, None, "scan"),
            Phase.EVALUATE,
            Scan(tuple(self._config.sparsities), tuple(self._config.criteria)),
            self._view.parent,
            self._view.parent_macs,
            start=WeightsOf(pretrain.name),
            image_size=pretrain.image_size,
        )
