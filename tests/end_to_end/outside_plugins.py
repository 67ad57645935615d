"""Plug-ins as a user would write them, each one file outside the package, with the kind as key."""

CRITERION = '''
from torch import Tensor


class Criterion:
    """Squared weights per MAC."""

    needs_gradients = False

    def scores(self, weight: Tensor, context) -> Tensor:
        return weight.detach().float() ** 2 / context.macs_per_weight
'''

STRATEGY = """
from dataclasses import dataclass

from nas_baseline.proposing.batch_strategy import BatchStrategy
from nas_baseline.proposing.pool import constrained_pool, spread


@dataclass(frozen=True)
class Options:
    pool: int = 50


class Strategy(BatchStrategy):
    def __init__(self, space, seed, num_trials, max_macs, options):
        super().__init__(space, seed, num_trials, max_macs)
        self.pool = options.pool

    def next_batch(self, rng, room):
        if self._pools:
            return []
        self._pools = [constrained_pool(self.space, t, max(self.pool, 4 * room), self.seed) for t in self.targets]
        return spread(self._pools, room, taken=set(self.proposed))
"""

DATASET = """
import hashlib
from dataclasses import dataclass

import torch

from harness.data.base import DataInfo, Splits, TensorSplit


@dataclass(frozen=True)
class Options:
    num_images: int = 200
    brightness: float = 1.0


class Dataset:
    KEYS = ()

    def __init__(self, config):
        self.options = Options(**config.options)

    def info(self):
        n = self.options.num_images
        return DataInfo((1, 28, 28), 4, (0.5,), (0.25,), n, num_val=80, num_test=80)

    def check(self):
        pass

    def fingerprint(self):
        return hashlib.sha256(repr(self.options).encode()).hexdigest()

    def splits(self):
        info, parts = self.info(), {}
        for seed, (name, n) in enumerate({"train": info.num_train, "val": 80, "test": 80}.items()):
            labels = torch.arange(n) % 4
            images = torch.randint(0, 60, (n, 1, 28, 28), generator=torch.Generator().manual_seed(seed))
            for i, label in enumerate(labels.tolist()):
                images[i, 0, 7 * label : 7 * label + 7] += int(150 * self.options.brightness)
            parts[name] = TensorSplit(images.clamp(0, 255).to(torch.uint8), labels.long(), info)
        return Splits(info, **parts)
"""

FIGURE = """
import pandas as pd

TITLE = "Jobs by route"


def data(frames):
    return frames.attempts.groupby("route", as_index=False)["job"].nunique()


def caption(data):
    return f"Jobs of each route; n = {int(data['job'].sum())}."


def draw(data, figure):
    axes = figure.subplots()
    axes.bar(data["route"], data["job"])
    axes.set_ylabel("jobs")
"""

ROUTE = """
from pydantic import Field

from accounting.ledger.records import Phase
from harness.config.section import Strict
from harness.jobs.identity import JobId
from harness.jobs.work import Train
from harness.routes.base import Queue, evaluation
from nas_baseline.spaces.families import family_macs, network_spec, variants

ROLE = "challenger"



class Config(Strict):
    epochs: int = Field(1, ge=1, le=10)


class Route:
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
        return self._queue.next(more=False)

    def tell(self, job, outcome):
        if not self._queue.record(job, outcome) or job.phase != Phase.RETRAIN:
            return
        both = [name for name, each in self._jobs.items() if each.target == job.target]
        if self._queue.all_told(both) and (best := self._queue.best(both)) is not None:
            macs = int(self._queue.outcomes[best].metrics["macs"])
            text = "the better of two trainings"
            self._queue.put(evaluation(self._view, self._jobs[best], self.name, text, macs))
"""

ALL = {"stripes": DATASET, "energy": CRITERION, "handful": STRATEGY, "job_counts": FIGURE, "smallest": ROUTE}
"""By the name that their files give them."""
