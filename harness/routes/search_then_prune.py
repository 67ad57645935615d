"""Search for a network larger than the target, then prune it to the target: both costs are this route's."""

from __future__ import annotations

from harness.config.routes import PruneConfig, SearchConfig
from harness.jobs.job import Job, Outcome
from harness.routes.base import View
from harness.routes.chain import PruneChain
from harness.routes.search import SearchRoute


class SearchThenPruneRoute(SearchRoute):
    """One replicate: a search of its own, whose winner for each target is pruned instead of delivered."""

    name = "search_then_prune"

    def __init__(self, view: View, replicate: int, search: SearchConfig, prune: PruneConfig, larger: float) -> None:
        super().__init__(view, replicate, self.name, search, larger)
        self._chain = PruneChain(view, prune, self.name, replicate, self._queue)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`."""
        is_mine = job.name in self._queue.awaited
        super().tell(job, outcome)
        if is_mine:
            self._chain.tell(job, outcome)

    def _won(self, job: Job, outcome: Outcome, target: int) -> None:
        self._chain.start(job, int(outcome.metrics["macs"]), target)
