"""The control: networks of the target's size trained directly, without a parent and without a search.

Per target: the largest network of the parent's family within the target, and, from the prune route's first method, the
pruned structure (its masks or widths) on fresh weights. That at equal cost (as much training compute as pre-training and
fine-tuning had together) and at equal epochs (those of the pre-training): Scratch-B and Scratch-E of Liu et al. 2019
(arXiv 1810.05270, section 3). And masks with the same share kept in every layer, at random places.
"""

from __future__ import annotations

from accounting.ledger.records import Phase
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.routes.base import Queue, View, evaluation
from harness.routes.chain import structure_job
from nas_baseline.spaces.families import family_macs, network_spec, variants


class ScratchRoute:
    """One replicate. Per target ``retrain`` → ``evaluate``, for each kind of network."""

    name = "scratch"

    def __init__(self, view: View, replicate: int) -> None:
        assert view.config.routes.scratch is not None
        self.replicate = replicate
        self._view = view
        self._config = view.config.routes.scratch
        self._queue = Queue()
        self._texts: dict[str, tuple[str, str]] = {}
        self._expected: set[str] = set()
        prune = view.config.routes.prune
        if self._config.needs_prune and prune is not None:
            self._expected = {structure_job("prune", replicate, target, prune) for target in view.config.targets}
        if self._config.family and view.config.parent.family is not None:
            for target in view.config.targets:
                self._put_family(target)

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`."""
        return self._queue.next(more=bool(self._expected))

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`; also listens to the prune route, whose masks it needs."""
        if job.job in self._expected:
            self._expected.discard(job.job)
            if outcome.ok:
                self._put_structures(job, outcome)
        elif not outcome.ok and job.route == "prune":
            self._expected -= self._lost_with(job)
        elif self._queue.record(job, outcome) and job.phase == Phase.RETRAIN and outcome.ok:
            label, text = self._texts[job.job]
            self._queue.put(evaluation(self._view, job, label, text, int(outcome.metrics["macs"])))

    def _lost_with(self, job: Job) -> set[str]:
        """What will not come after this failure: all after the parent's, one method's rounds after one of them."""
        if job.phase == Phase.PRETRAIN:
            return set(self._expected)
        stem = job.job.rpartition(f"-{job.phase}")[0]
        return {expected for expected in self._expected if expected.startswith(f"{stem}-")}

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
        self._texts[name] = "scratch_family", "family network within the target"
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

    def _put_structures(self, source: Job, outcome: Outcome) -> None:
        config, prune = self._view.config, self._view.config.routes.prune
        assert prune is not None
        macs = int(outcome.metrics["macs"])
        pretrained = int(self._view.recipe(config.parent.pretrain)["epochs"])
        tuned = int(self._view.recipe(prune.finetune)["epochs"])
        # Zeros are multiplied too, so that a masked network's epoch costs what the parent's does; a smaller one's costs
        # less, and equal compute buys more epochs of it.
        per_epoch = (macs if source.is_smaller else source.pass_macs) / self._view.parent_macs
        equal_cost = max(1, round(pretrained / per_epoch + tuned))
        if self._config.pruned_structure:
            text = "pruned structure on fresh weights, at the cost of pre-training and fine-tuning"
            self._put_structure(source, macs, "pruned_structure", equal_cost, text)
        if self._config.equal_epochs and pretrained > 0:
            text = "pruned structure on fresh weights, for the epochs of the pre-training"
            self._put_structure(source, macs, "pruned_structure_equal_epochs", pretrained, text)
        if self._config.random_masks:
            text = "random masks with the pruned share of every layer on fresh weights"
            self._put_structure(source, macs, "random_masks", equal_cost, text)

    def _put_structure(self, source: Job, macs: int, kind: str, epochs: int, text: str) -> None:
        name = f"scratch-r{self.replicate}-t{source.target}-{kind}-retrain"
        self._texts[name] = f"scratch_{kind}", text
        self._queue.put(
            Job(
                job=name,
                route=self.name,
                phase=Phase.RETRAIN,
                target=source.target,
                replicate=self.replicate,
                seed=self._view.seed(name),
                network=self._view.parent,
                network_macs=macs,
                computed_macs=macs if source.is_smaller else source.pass_macs,
                is_smaller=source.is_smaller,
                recipe=self._view.recipe(self._config.train, {"epochs": epochs}),
                structure_from=source.job,
                shuffle_masks=kind == "random_masks",
            )
        )
