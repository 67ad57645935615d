"""The control: networks of the target's size trained directly, without a parent and without a search.

Per target: the largest network of the parent's family within the target, and, from the prune route's first method, the
pruned structure (its masks or widths) on fresh weights. That at equal cost (as much training compute as pre-training and
fine-tuning had together) and at equal epochs (those of the pre-training): Scratch-B and Scratch-E of Liu et al. 2019
(arXiv 1810.05270, section 3). And masks with the same share kept in every layer, at random places.
"""

from __future__ import annotations

from accounting.ledger.records import Phase
from harness.config.routes import PruneConfig, ScratchConfig
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.start import StructureOf
from harness.jobs.work import Train
from harness.routes.base import Queue, View, evaluation
from harness.routes.chain import structure_ids
from harness.routes.prune import pretrain_id
from nas_baseline.spaces.families import family_macs, network_spec, variants

STRUCTURES = {
    "pruned_structure": "pruned_structure",
    "equal_epochs": "pruned_structure_equal_epochs",
    "random_masks": "random_masks",
}
"""Switches of the config, and what the controls with a pruned structure are called."""


def structure_control(kind: str, replicate: int, target: int | None) -> JobId:
    """The job that trains a pruned structure."""
    return JobId(ScratchRoute.name, replicate, target, f"{kind}-retrain")


class ScratchRoute:
    """One replicate. Per target ``retrain`` → ``evaluate``, for each kind of network."""

    name = "scratch"

    def __init__(self, view: View, replicate: int, config: ScratchConfig, prune: PruneConfig | None) -> None:
        self.replicate = replicate
        self._view = view
        self._config = config
        self._queue = Queue()
        self._texts: dict[str, tuple[str, str]] = {}
        self._expected: dict[JobId, set[JobId]] = {}
        """Jobs of the prune route whose structures are to come, and those without which each does not."""
        self._tuned = 0 if prune is None else view.recipe(prune.finetune).epochs
        if config.needs_prune and prune is not None:
            for target in view.config.targets:
                *before, structure = structure_ids("prune", replicate, target, prune)
                self._expected[structure] = {pretrain_id(replicate), *before}
        if self._config.family and view.config.parent.family is not None:
            for target in view.config.targets:
                self._put_family(target)

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`."""
        return self._queue.next(more=bool(self._expected))

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`; also listens to the prune route, whose masks it needs."""
        if self._expected.pop(job.id, None) is not None:
            if outcome.ok:
                self._put_structures(job, outcome)
        elif not outcome.ok and job.route == "prune":
            self._expected = {id: before for id, before in self._expected.items() if job.id not in before}
        elif self._queue.record(job, outcome) and job.phase == Phase.RETRAIN and outcome.ok:
            label, text = self._texts[job.name]
            self._queue.put(evaluation(self._view, job, label, text, int(outcome.metrics["macs"])))

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
        id = JobId(self.name, self.replicate, target, f"family_{variant}-retrain")
        self._texts[str(id)] = "scratch_family", "family network within the target"
        self._queue.put(self._view.job(id, Phase.RETRAIN, Train(self._view.recipe(self._config.train)), spec, macs))

    def _put_structures(self, source: Job, outcome: Outcome) -> None:
        macs = int(outcome.metrics["macs"])
        computed_macs = macs if source.is_smaller else source.computed_macs
        pretrained = self._view.recipe(self._view.config.parent.pretrain).epochs
        # Zeros are multiplied too, so that a masked network's epoch costs what the parent's does; a smaller one's costs
        # less, and equal compute buys more epochs of it.
        equal_cost = max(1, round(pretrained / (computed_macs / self._view.parent_macs) + self._tuned))
        if self._config.pruned_structure:
            text = "pruned structure on fresh weights, at the cost of pre-training and fine-tuning"
            self._put_structure(source, macs, computed_macs, "pruned_structure", equal_cost, text)
        if self._config.equal_epochs and pretrained > 0:
            text = "pruned structure on fresh weights, for the epochs of the pre-training"
            self._put_structure(source, macs, computed_macs, "pruned_structure_equal_epochs", pretrained, text)
        if self._config.random_masks:
            text = "random masks with the pruned share of every layer on fresh weights"
            self._put_structure(source, macs, computed_macs, "random_masks", equal_cost, text)

    def _put_structure(self, source: Job, macs: int, computed_macs: int, kind: str, epochs: int, text: str) -> None:
        id = structure_control(kind, self.replicate, source.target)
        self._texts[str(id)] = f"scratch_{kind}", text
        self._queue.put(
            self._view.job(
                id,
                Phase.RETRAIN,
                Train(self._view.recipe(self._config.train, {"epochs": epochs})),
                self._view.parent,
                macs,
                computed_macs=computed_macs,
                is_smaller=source.is_smaller,
                start=StructureOf(source.name, shuffled=kind == "random_masks"),
            )
        )
