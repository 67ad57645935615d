"""What the routes share: their view of the study, the naming and seeding of jobs, and a queue with barriers."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from accounting.ledger.records import Phase
from accounting.ledger.specs import NetworkSpec
from accounting.words.names import PRUNE, file_name
from harness.config.distill import PARENT
from harness.config.phases import TUNED
from harness.config.recipe import Recipe, RecipeOverride, pretraining
from harness.config.study import StudyConfig
from harness.config.tune import OFF
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Prediction, Wait
from harness.jobs.start import FRESH, Start, WeightsOf
from harness.jobs.teacher import Teacher
from harness.jobs.work import Deliver, Train, TrainSupernet, Work
from harness.routes.tuning import trials_of, tuned


def pretrain_id(replicate: int) -> JobId:
    """The id of the prune route's job that trains the parent."""
    return JobId(PRUNE, replicate, None, "pretrain")


if TYPE_CHECKING:  # reading a config must not import torch
    from harness.data.base import DataInfo


@dataclass(frozen=True)
class Searched:
    """The targets of a search: those with which its first stage began, then those added later, in that order.

    The proposals of the first stage depend on its targets, so these stay the same when a study is extended.
    """

    first: tuple[int, ...]
    added: tuple[int, ...] = ()


@dataclass(frozen=True)
class View:
    """A study as a route sees it: the config, facts about the data, the parent's spec and its dense MACs.

    ``searched`` has the targets of each search that has begun; any other searches for all targets of the config.
    """

    config: StudyConfig
    info: DataInfo
    parent: NetworkSpec
    parent_macs: int
    searched: Mapping[str, Searched] = field(default_factory=dict)
    teachers: Mapping[str, Teacher] = field(default_factory=dict)
    """The teachers that the config names, by name, without the parent."""

    def search_targets(self, route: str) -> Searched:
        """The targets of a search route."""
        return self.searched.get(route, Searched(tuple(self.config.targets)))

    def recipe(self, *overrides: RecipeOverride | Mapping[str, object]) -> Recipe:
        """The study's recipe with ``overrides`` applied in order; later ones win."""
        recipe = self.config.recipe
        for override in overrides:
            given = override if isinstance(override, RecipeOverride) else RecipeOverride.model_validate(override)
            recipe = given.over(recipe)
        return recipe

    @property
    def parent_info(self) -> DataInfo:
        """Facts about the data at the parent's own image size."""
        from harness.data.sized import info_at  # imports torch, which reading a config must not

        return info_at(self.info, self.config.parent.image_size)

    @property
    def pretraining(self) -> Recipe:
        """The recipe that trains the parent."""
        return pretraining(self.config.recipe, self.config.parent.pretrain)

    def teacher(self, recipe: Recipe, replicate: int) -> Teacher | None:
        """The teacher that this recipe asks for, if any; the parent as a teacher is the replicate's own."""
        if recipe.teaching is None:
            return None
        if not self._is_parent(recipe.teaching.teacher):
            return self.teachers[recipe.teaching.teacher]
        info, start = self.parent_info, WeightsOf(str(pretrain_id(replicate)))
        shown = info.image_shape, info.mean, info.std, info.interpolation
        return Teacher(PARENT, self.parent, start, self.parent_macs, *shown)

    def _is_parent(self, teacher: str) -> bool:
        """Whether a teacher is the parent, by that name or by that of the file whose weights it keeps as they are."""
        is_kept = PRUNE in self.config.routes.names and self.pretraining.epochs == 0
        return teacher == PARENT or (is_kept and teacher == self.config.parent.checkpoint)

    def latency_ms(self, target: int | None) -> float | None:
        """The latency from which a target in MACs was derived; None unless the study's targets are latencies."""
        if self.config.target is None:
            return None
        latencies_ms = sorted(self.config.target.latency_ms, reverse=True)
        return dict(zip(sorted(self.config.targets, reverse=True), latencies_ms, strict=True)).get(target or 0)

    @property
    def parent_text(self) -> str:
        """The parent in words: which network, which weights, how long it was trained in this study."""
        parent = self.config.parent
        name = parent.timm or f"{parent.family} {parent.variant}"
        if parent.checkpoint is not None:
            name += " with the weights of a given file"
        elif parent.pretrained:
            name += " with timm's published weights"
        return f"{name}, trained here for {self.pretraining.epochs} epochs"

    def seed(self, job: JobId | str) -> int:
        """A job's own seed, derived from the study's seed and the job's name, which contains the replicate."""
        name = str(job).encode()
        return int(np.random.SeedSequence([self.config.seed, zlib.crc32(name)]).generate_state(1)[0] >> 1)

    def job(
        self,
        id: JobId,
        phase: Phase,
        work: Work,
        network: NetworkSpec,
        macs: int,
        *,
        computed_macs: int | None = None,
        is_smaller: bool = False,
        start: Start = FRESH,
        predicted: Prediction | None = None,
        image_size: int | None = None,
    ) -> Job:
        """A job with its seed and its teacher.

        ``macs`` are those of the resulting network, and also of a forward pass unless ``computed_macs`` differ.
        ``image_size`` is the side of its images in pixels, if not the dataset's.
        """
        computed = macs if computed_macs is None else computed_macs
        if isinstance(work, Train | TrainSupernet) and phase not in TUNED:
            work = replace(work, recipe=work.recipe.model_copy(update={"tune": OFF}))
        taught = self.teacher(work.recipe, id.replicate) if isinstance(work, Train | TrainSupernet) else None
        seed = self.seed(id)
        return Job(
            id, phase, seed, network, work, macs, computed, start, is_smaller, predicted, taught, image_size=image_size
        )


@dataclass
class Queue:
    """A route's memory: the jobs ready to be proposed, and those whose outcomes are awaited."""

    ready: deque[Job] = field(default_factory=deque)
    awaited: set[str] = field(default_factory=set)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    tunings: dict[str, tuple[Job, list[Job]]] = field(default_factory=dict)
    """By trial: the training that waits for the tuning, and all trials of it."""

    def put(self, job: Job) -> None:
        """Add a job to propose; if its recipe is tuned, the trials come first."""
        trials = trials_of(job)
        self.tunings |= {trial.name: (job, trials) for trial in trials}
        self.ready.extend(trials or [job])

    def next(self, *, more: bool) -> Job | Wait | Done:
        """The next job; Wait while an outcome is awaited or if ``more`` jobs will follow; otherwise Done."""
        if self.ready:
            job = self.ready.popleft()
            self.awaited.add(job.name)
            return job
        return Wait() if self.awaited or more else Done()

    def record(self, job: Job, outcome: Outcome) -> bool:
        """Record an outcome, and return whether its job came from this queue."""
        if job.name not in self.awaited:
            return False
        self.awaited.discard(job.name)
        self.outcomes[job.name] = outcome
        if job.name in self.tunings:
            waiting, trials = self.tunings[job.name]
            if self.all_told([trial.name for trial in trials]):
                self.ready.append(tuned(waiting, trials, self.outcomes))
        return True

    def all_told(self, jobs: list[str]) -> bool:
        """Whether all of ``jobs`` have an outcome."""
        return all(job in self.outcomes for job in jobs)

    def best(self, jobs: list[str]) -> str | None:
        """The successful job with the highest ``val_top1`` (the first of equals); None if all failed."""
        ok = [job for job in jobs if self.outcomes[job].ok]
        return max(ok, key=lambda job: self.outcomes[job].metrics["val_top1"]) if ok else None


def evaluation(view: View, trained: Job, label: str, description: str, macs: int, parent: str | None = None) -> Job:
    """The job that evaluates a trained network once on the test split and delivers it; ``parent`` says where it came from.

    The job's name contains that of the trained network, so if a resumed study finds a better one, that is delivered too.
    """
    return view.job(
        trained.id.then("evaluate", file_name(label)),
        Phase.EVALUATE,
        Deliver(label, description, parent, view.latency_ms(trained.target)),
        trained.network,
        macs,
        computed_macs=trained.computed_macs,
        is_smaller=trained.is_smaller,
        start=WeightsOf(trained.name),
        image_size=trained.image_size,
    )
