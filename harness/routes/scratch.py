"""The control: networks of the target's size trained directly, without a parent and without a search.

Two per target: the largest network of the parent's family within the target, and the pruned parent's structure (its
masks) on fresh weights, for as many epochs as pre-training and fine-tuning had together.
"""

from __future__ import annotations

from accounting.records import Phase
from harness.jobs import Done, Job, Outcome, Wait
from harness.routes.base import Queue, View, evaluation
from nas_baseline.families import family_macs, network_spec, variants


class ScratchRoute:
    """One replicate. Per target ``retrain`` → ``evaluate``, for either kind of network."""

    name = "scratch"

    def __init__(self, view: View, replicate: int) -> None:
        assert view.config.routes.scratch is not None
        self.replicate = replicate
        self._view = view
        self._config = view.config.routes.scratch
        self._queue = Queue()
        self._expected: set[str] = set()
        if self._config.pruned_structure:
            self._expected = {self._prune_job(target) for target in view.config.targets}
        if self._config.family and view.config.parent.family is not None:
            for target in view.config.targets:
                self._put_family(target)

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.Route`."""
        return self._queue.next(more=bool(self._expected))

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.Route`; also listens to the prune route, whose masks it needs."""
        if job.phase == Phase.PRETRAIN and not outcome.ok:
            self._expected.clear()
        if job.job in self._expected:
            self._expected.discard(job.job)
            if outcome.ok:
                self._put_pruned_structure(job, outcome)
        elif self._queue.record(job, outcome) and job.phase == Phase.RETRAIN and outcome.ok:
            structure = job.masks_from is not None
            label = "scratch_pruned_structure" if structure else "scratch_family"
            text = "pruned structure on fresh weights" if structure else "family network within the target"
            self._queue.put(evaluation(self._view, job, label, text, int(outcome.metrics["macs"])))

    def _prune_job(self, target: int) -> str:
        assert self._view.config.routes.prune is not None
        return f"prune-r{self.replicate}-t{target}-{self._view.config.routes.prune.criterion[0]}-{Phase.PRUNE}"

    def _put_family(self, target: int) -> None:
        family, info = str(self._view.config.parent.family), self._view.info
        counted = info.image_shape[0], info.num_classes, info.image_shape[1]
        within = []
        for variant in variants(family):
            spec = network_spec(family, variant, info.image_shape[0], info.num_classes)
            macs = family_macs(family, variant, *counted)
            if macs <= target:
                within.append((macs, variant, spec))
        if not within:
            return
        macs, variant, spec = max(within, key=lambda entry: entry[0])
        name = f"scratch-r{self.replicate}-t{target}-family_{variant}-retrain"
        self._queue.put(
            Job(
                job=name,
                route=self.name,
                phase=Phase.RETRAIN,
                target=target,
                replicate=self.replicate,
                seed=self._view.seed(name),
                network=spec,
                network_macs=macs,
                recipe=self._view.recipe(self._config.train),
            )
        )

    def _put_pruned_structure(self, prune: Job, outcome: Outcome) -> None:
        config = self._view.config
        assert config.routes.prune is not None
        spent = [self._view.recipe(config.parent.pretrain), self._view.recipe(config.routes.prune.finetune)]
        recipe = self._view.recipe(self._config.train, {"epochs": sum(r["epochs"] for r in spent)})
        name = f"scratch-r{self.replicate}-t{prune.target}-pruned_structure-retrain"
        self._queue.put(
            Job(
                job=name,
                route=self.name,
                phase=Phase.RETRAIN,
                target=prune.target,
                replicate=self.replicate,
                seed=self._view.seed(name),
                network=self._view.parent,
                network_macs=int(outcome.metrics["macs"]),
                recipe=recipe,
                masks_from=prune.job,
            )
        )
