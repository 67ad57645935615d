"""The prune route: train the parent once, prune it to every target, fine-tune, deliver the best on validation."""

from __future__ import annotations

from dataclasses import replace

from accounting.ledger.records import Phase
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.models.build import pretrained_spec
from harness.routes.base import Queue, View
from harness.routes.chain import PruneChain


def pretrain_job(replicate: int) -> str:
    """The name of the job that trains the parent."""
    return f"prune-r{replicate}-pretrain"


class PruneRoute:
    """One replicate. ``pretrain`` → per target and method ``prune`` → ``finetune`` → per target ``evaluate``."""

    name = "prune"

    def __init__(self, view: View, replicate: int) -> None:
        assert view.config.routes.prune is not None
        self.replicate = replicate
        self._view = view
        self._queue = Queue()
        self._chain = PruneChain(view, view.config.routes.prune, self.name, replicate, self._queue)
        self._queue.put(self._pretrain())

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`."""
        return self._queue.next(more=False)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`."""
        if not self._queue.record(job, outcome):
            return
        if job.phase == Phase.PRETRAIN and outcome.ok:
            trained = replace(job, network=self._view.parent)  # what follows brings its own weights
            for target in self._view.config.targets:
                self._chain.start(trained, self._view.parent_macs, target)
        else:
            self._chain.tell(job, outcome)

    def _pretrain(self) -> Job:
        name, parent = pretrain_job(self.replicate), self._view.config.parent
        return Job(
            job=name,
            route=self.name,
            phase=Phase.PRETRAIN,
            target=None,
            replicate=self.replicate,
            seed=self._view.seed(name),
            network=pretrained_spec(parent, self._view.parent),
            network_macs=self._view.parent_macs,
            recipe=self._view.recipe(parent.pretrain),
            checkpoint=parent.checkpoint,
        )
