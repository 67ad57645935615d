"""Scans of the trained parent: which roles bear sparsity, and how far the whole network goes without fine-tuning.

Delivers nothing; what it costs is its own route's, charged to no network.
"""

from __future__ import annotations

from accounting.ledger.records import Phase
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.routes.base import Queue, View
from harness.routes.prune import pretrain_job


class AnalysisRoute:
    """One replicate: one job, after the prune route has trained the parent."""

    name = "analysis"

    def __init__(self, view: View, replicate: int) -> None:
        self.replicate = replicate
        self._view = view
        self._queue = Queue()
        self._waits = True

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`."""
        return self._queue.next(more=self._waits)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`; listens to the prune route."""
        if job.job == pretrain_job(self.replicate) and self._waits:
            self._waits = False
            if outcome.ok:
                self._queue.put(self._scan(job))
        else:
            self._queue.record(job, outcome)

    def _scan(self, pretrain: Job) -> Job:
        config = self._view.config.routes.analysis
        assert config is not None
        name = f"analysis-r{self.replicate}-scan"
        return Job(
            job=name,
            route=self.name,
            phase=Phase.EVALUATE,
            target=None,
            replicate=self.replicate,
            seed=self._view.seed(name),
            network=self._view.parent,
            network_macs=self._view.parent_macs,
            init_from=pretrain.job,
            analysis={"sparsities": config.sparsities, "criteria": list(config.criteria)},
        )
