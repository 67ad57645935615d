"""Search for a network larger than the target, then prune it to the target: both costs are this route's."""

from __future__ import annotations

from harness.jobs.job import Job, Outcome
from harness.routes.base import View
from harness.routes.chain import PruneChain
from harness.routes.search import SearchRoute


class SearchThenPruneRoute(SearchRoute):
    """One replicate: a search of its own, whose winner for each target is pruned instead of delivered."""

    def __init__(self, view: View, replicate: int) -> None:
        routes, both = view.config.routes, view.config.routes.search_then_prune
        assert both is not None
        name = "search_then_prune"
        super().__init__(view, replicate, name, routes.searches[name], both.larger)
        self._chain = PruneChain(view, routes.prunings[name], name, replicate, self._queue)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`."""
        is_mine = job.job in self._queue.awaited
        super().tell(job, outcome)
        if is_mine:
            self._chain.tell(job, outcome)

    def _won(self, job: Job, outcome: Outcome) -> None:
        assert job.target is not None
        self._chain.start(job, int(outcome.metrics["macs"]), job.target)
