"""Scans of the trained parent: which roles bear sparsity, and how far the whole network goes without fine-tuning.

Delivers nothing; what it costs is its own route's, charged to no network.
"""

from __future__ import annotations

from accounting.ledger.records import Phase
from harness.config.routes import AnalysisConfig
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.start import WeightsOf
from harness.jobs.work import Scan
from harness.routes.base import Queue, View
from harness.routes.prune import pretrain_id


class AnalysisRoute:
    """One replicate: one job, after the prune route has trained the parent."""

    name = "analysis"

    def __init__(self, view: View, replicate: int, config: AnalysisConfig) -> None:
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
        )
