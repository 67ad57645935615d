"""The prune route: train the parent once, prune it to every target, fine-tune, deliver the best on validation."""

from __future__ import annotations

from accounting.records import Phase
from harness.jobs import Done, Job, Outcome, Wait
from harness.routes.base import Queue, View, evaluation


class PruneRoute:
    """One replicate. ``pretrain`` → per target and criterion ``prune`` → ``finetune`` → per target ``evaluate``."""

    name = "prune"

    def __init__(self, view: View, replicate: int) -> None:
        assert view.config.routes.prune is not None
        self.replicate = replicate
        self._view = view
        self._config = view.config.routes.prune
        self._queue = Queue()
        self._finetunes: dict[int, list[str]] = {
            target: [self._name(target, c, Phase.FINETUNE) for c in self._config.criterion]
            for target in view.config.targets
        }
        self._criterion_of: dict[str, str] = {}
        self._jobs: dict[str, Job] = {}
        self._queue.put(self._pretrain())

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.Route`."""
        return self._queue.next(more=False)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.Route`."""
        if not self._queue.record(job, outcome):
            return
        self._jobs[job.job] = job
        if job.phase == Phase.PRETRAIN and outcome.ok:
            for target in self._view.config.targets:
                for criterion in self._config.criterion:
                    self._queue.put(self._prune(job, target, criterion))
        elif job.phase == Phase.PRUNE:
            finetune = self._finetune(job, outcome)
            if outcome.ok:
                self._queue.put(finetune)
            else:
                self._queue.outcomes[finetune.job] = outcome
                self._deliver(finetune)
        elif job.phase == Phase.FINETUNE:
            self._deliver(job)

    def _deliver(self, finetune: Job) -> None:
        jobs = self._finetunes[int(finetune.target or 0)]
        if not self._queue.all_told(jobs):
            return
        best = self._queue.best(jobs)
        if best is not None:
            job, metrics = self._jobs[best], self._queue.outcomes[best].metrics
            text = f"parent pruned by {self._criterion_of[best].replace('_', ' ')} and fine-tuned"
            self._queue.put(evaluation(self._view, job, "prune", text, int(metrics["macs"])))

    def _name(self, target: int, criterion: str, phase: Phase) -> str:
        return f"prune-r{self.replicate}-t{target}-{criterion}-{phase}"

    def _pretrain(self) -> Job:
        name, parent = f"prune-r{self.replicate}-pretrain", self._view.config.parent
        network = self._view.parent
        if parent.pretrained:
            network = {**network, "kwargs": {**network["kwargs"], "pretrained": True}}
        return Job(
            job=name,
            route=self.name,
            phase=Phase.PRETRAIN,
            target=None,
            replicate=self.replicate,
            seed=self._view.seed(name),
            network=network,
            network_macs=self._view.parent_macs,
            recipe=self._view.recipe(parent.pretrain),
            checkpoint=parent.checkpoint,
        )

    def _prune(self, pretrain: Job, target: int, criterion: str) -> Job:
        name = self._name(target, criterion, Phase.PRUNE)
        scope, _, scoring = criterion.partition("_")
        return Job(
            job=name,
            route=self.name,
            phase=Phase.PRUNE,
            target=target,
            replicate=self.replicate,
            seed=self._view.seed(name),
            network=self._view.parent,
            network_macs=target,
            init_from=pretrain.job,
            prune={"scope": scope, "criterion": scoring, "target_macs": target, "floor": self._config.floor},
        )

    def _finetune(self, prune: Job, outcome: Outcome) -> Job:
        rule = prune.prune or {}
        criterion = f"{rule['scope']}_{rule['criterion']}"
        name = self._name(int(prune.target or 0), criterion, Phase.FINETUNE)
        self._criterion_of[name] = criterion
        return Job(
            job=name,
            route=self.name,
            phase=Phase.FINETUNE,
            target=prune.target,
            replicate=self.replicate,
            seed=self._view.seed(name),
            network=self._view.parent,
            network_macs=int(outcome.metrics.get("macs", prune.target)),
            recipe=self._view.recipe(self._config.finetune),
            init_from=prune.job,
        )
