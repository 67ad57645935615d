"""A route of your own: a config names it as ``routes: {smallest: {epochs: 1}}``, and may cap it by ``budget``.

It trains the smallest network of the parent's family twice for each target, and delivers the better one.
"""

from pydantic import Field

from accounting.ledger.records import Phase
from accounting.words.names import Role, RouteWords
from harness.config.route_section import RouteSection
from harness.jobs.identity import JobId
from harness.jobs.work import Train
from harness.routes.base import Queue, evaluation
from nas_baseline.spaces.families import family_macs, network_spec, variants

WORDS = RouteWords(Role.CHALLENGER, "the smallest", "#123456", "v", rank=7, summary="Trains the smallest twice.")
"""What it is called, and for: a challenger is compared with pruning, as search is."""


class Config(RouteSection):
    """Its keys under ``routes``."""

    epochs: int = Field(1, ge=1, le=10)
    """Epochs of each training."""


class Route:
    """One replicate: two trainings for each target, then the evaluation of the better one."""

    name = "smallest"

    def __init__(self, view, replicate, config):
        self.replicate, self._view, self._queue, self._jobs = replicate, view, Queue(), {}
        family, shape = view.config.parent.family, view.info.image_shape
        counts = {v: family_macs(family, v, shape[0], view.info.num_classes, shape[1]) for v in variants(family)}
        variant = min(counts, key=counts.get)
        spec = network_spec(family, variant, shape[0], view.info.num_classes)
        for target in view.config.targets:
            for turn in ("a", "b"):
                id = JobId(self.name, replicate, target, f"retrain-{turn}")
                work = Train(view.recipe({"epochs": config.epochs}))
                self._jobs[str(id)] = view.job(id, Phase.RETRAIN, work, spec, counts[variant])
        for job in self._jobs.values():
            self._queue.put(job)

    def ask(self):
        """The next job, or whether to wait for an outcome, or that there is nothing more."""
        return self._queue.next(more=False)

    def tell(self, job, outcome):
        """Take an outcome. What is proposed may depend on which outcomes there are, never on their order."""
        if not self._queue.record(job, outcome) or job.phase != Phase.RETRAIN:
            return
        both = [name for name, each in self._jobs.items() if each.target == job.target]
        if self._queue.all_told(both) and (best := self._queue.best(both)) is not None:
            macs = int(self._queue.outcomes[best].metrics["macs"])
            text = "the better of two trainings"
            self._queue.put(evaluation(self._view, self._jobs[best], self.name, text, macs))
