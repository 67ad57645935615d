"""Search for a network larger than the target, then prune it to the target; this route pays for both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from accounting.words.names import PRUNE, SEARCH, Role, RouteWords
from harness.config.blocks import PruneConfig, SearchConfig
from harness.config.route_section import Part, RouteSection
from harness.jobs.job import Job, Outcome
from harness.routes import search
from harness.routes.base import View
from harness.routes.chain import PruneChain

if TYPE_CHECKING:
    from harness.config.study import StudyConfig

WORDS = RouteWords(
    Role.CHALLENGER, "search then prune", "#CC79A7", "X", rank=5,
    summary="Search for a network above the target, then prune it.",
)  # fmt: skip


class Config(RouteSection):
    """Search for a network larger than the target, then prune it; sections left out are those of the routes of that name."""

    larger: float = Field(2.0, gt=1, le=100)
    """MACs of the network that is searched for, over the target's."""
    search: SearchConfig | None = None
    """Its search; the study's ``routes.search`` if left out."""
    prune: PruneConfig | None = None
    """Its pruning; the study's ``routes.prune`` if left out."""

    SEARCH: ClassVar[Part | None] = Part("search", else_of=SEARCH)
    PRUNING: ClassVar[Part | None] = Part("prune", else_of=PRUNE)
    ALONE: ClassVar[bool] = False

    def problems(self, study: StudyConfig, route: str) -> Iterator[str]:
        """See :class:`RouteSection`."""
        if route not in study.routes.searches or route not in study.routes.prunings:
            yield f"routes.{route} needs a search and a prune section, its own or the study's"


class Route(search.Route):
    """One replicate: a search of its own, whose winner for each target is pruned before it is delivered."""

    name = "search_then_prune"

    def __init__(self, view: View, replicate: int, config: Config) -> None:
        routes = view.config.routes
        super().__init__(view, replicate, routes.searches[self.name], config.larger)
        self._chain = PruneChain(view, routes.prunings[self.name], self.name, replicate, self._queue)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`."""
        is_mine = job.name in self._queue.awaited
        super().tell(job, outcome)
        if is_mine:
            self._chain.tell(job, outcome)

    def _won(self, job: Job, outcome: Outcome, target: int) -> None:
        self._chain.start(job, int(outcome.metrics["macs"]), target)
