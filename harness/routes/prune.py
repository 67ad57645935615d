"""The prune route: train the parent once, prune it to every target, fine-tune, and deliver the best on validation."""

from __future__ import annotations

from dataclasses import replace

from accounting.ledger.records import Phase
from accounting.words.names import Role, RouteWords
from harness.config.blocks import PruneConfig
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.start import FRESH, Checkpoint
from harness.jobs.work import Train
from harness.routes.base import Queue, View, pretrain_id
from harness.routes.chain import PruneChain

WORDS = RouteWords(
    Role.COMPARED, "prune", "#D55E00", "o", rank=2,
    summary="Prune the parent, and fine-tune it.",
)  # fmt: skip
Config = PruneConfig


class Route:
    """One replicate. ``pretrain`` → per target and method ``prune`` → ``finetune`` → per target ``evaluate``."""

    name = "prune"

    def __init__(self, view: View, replicate: int, config: PruneConfig) -> None:
        self.replicate = replicate
        self._view = view
        self._queue = Queue()
        self._chain = PruneChain(view, config, self.name, replicate, self._queue)
        self._queue.put(self._pretrain())

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`."""
        return self._queue.next(more=False)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`."""
        if not self._queue.record(job, outcome):
            return
        if job.phase == Phase.PRETRAIN and outcome.ok:
            trained = replace(job, network=self._view.parent)  # later jobs load weights of their own
            for target in self._view.config.targets:
                self._chain.start(trained, self._view.parent_macs, target)
        else:
            self._chain.tell(job, outcome)

    def _pretrain(self) -> Job:
        from harness.models.build import pretrained_spec  # imports torch, which reading a config must not

        parent = self._view.config.parent
        return self._view.job(
            pretrain_id(self.replicate),
            Phase.PRETRAIN,
            Train(self._view.pretraining),
            pretrained_spec(parent, self._view.parent),
            self._view.parent_macs,
            start=FRESH if parent.checkpoint is None else Checkpoint(parent.checkpoint),
            image_size=parent.image_size,
        )
