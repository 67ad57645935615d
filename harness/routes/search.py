"""The search route: train candidates, fit the predictor between batches, retrain the best, and deliver the winner.

This is a simplified FBNetV3 procedure (arXiv 2006.02049) with the strategies of nas_baseline. Stage 1, one search, serves
all targets of the study. In stage 2, for each target, the networks that the predictor ranks highest and the best ones
already measured are retrained in full, and validation accuracy decides.

A target added after stage 1 has begun gets candidates of its own, as many as its share would have been; for these, the
strategy continues within that target alone. If the strategy shares weights, one supernet is trained first, and candidates
are scored with the weights that they inherit from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import ValidationError

from accounting.ledger.records import Phase
from accounting.words.names import Role, RouteWords
from harness.config.blocks import ONE_SIZE, OWN_SIZES, SearchConfig
from harness.config.recipe import Recipe, RecipeOverride
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Prediction, Wait
from harness.jobs.start import FRESH, InheritedFrom, Start, WeightsOf
from harness.jobs.work import Score, Train, TrainSupernet
from harness.routes.base import Queue, View, evaluation
from harness.routes.chooser import Chooser
from harness.routes.first_batch import FirstBatch
from harness.routes.halved import HalvedCandidates
from nas_baseline.proposing.proposals import Proposal
from nas_baseline.spaces import load_space
from nas_baseline.spaces.base import Arch
from nas_baseline.spaces.declared import StageSpace
from nas_baseline.strategies import shares_weights

WORDS = RouteWords(
    Role.COMPARED, "search", "#0072B2", "s", rank=1,
    summary="Search for an architecture, and train each candidate.",
)  # fmt: skip
Config = SearchConfig

RECIPE_FIELD = {"dropout": "drop_rate", "drop_path": "drop_path_rate"}


class Route:
    """One replicate. ``search`` × num_trials → per target ``retrain`` of the finalists → ``evaluate`` of the best.

    A network found for a target may have up to ``larger`` times its MACs.
    """

    name = "search"

    def __init__(self, view: View, replicate: int, config: SearchConfig, larger: float = 1.0) -> None:
        from nas_baseline.supernet.supernet import without_recipe  # imports torch, which reading a config must not

        name = self.name
        self.replicate = replicate
        self._view = view
        self._config = config
        searched = view.search_targets(name)
        self._limits = {target: round(larger * target) for target in (*searched.first, *searched.added)}
        self._queue = Queue()
        self._shares_weights = shares_weights(config.strategy.name)
        space = _space(config, view, name)
        self._space = without_recipe(space) if self._shares_weights else space
        _check_recipes(self._space)
        first = [self._limits[target] for target in searched.first]
        self._chooser = Chooser(view, name, replicate, config, self._space, first, list(self._limits.values()))
        self._strategy = self._chooser.new()
        self._first = FirstBatch(view.recipe(config.candidate).epochs, config.early_stop_tau)
        if self._shares_weights or not config.early_stop or config.halving is not None:
            self._first.skip()
        self._halved = self._halving(config)
        self._trials: dict[str, list[Proposal]] = {}
        self._predictions: list[Prediction | None] = []
        self._retrains: dict[int, dict[str, Job]] = {}
        self._unsearched = [target for target in searched.first if target in view.config.targets]
        """Targets whose stage 2 is still to come. They are taken one at a time, so the driver's work for each is known."""
        self._added = [target for target in searched.added if target in view.config.targets]
        self._share = math.ceil(config.strategy.num_trials / (len(searched.first) + 1))
        """How many candidates a target gets if it is added later."""
        self._current: tuple[int, int] | None = None
        """The added target that is being searched for, and its first trial; None in stage 1."""
        self._stage_1 = True
        self._supernet = self._train_supernet() if self._shares_weights else None

    def strategy_problem(self) -> str | None:
        """See :class:`harness.jobs.job.SearchingRoute`."""
        return self._chooser.problem()

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`; may take seconds when the predictor is fitted or evolution runs."""
        while self._stage_1 and not self._queue.ready:
            if self._supernet is not None and self._supernet.name not in self._queue.outcomes:
                break
            proposals = self._proposals()
            if proposals:
                supernet = self._supernet
                self._queue.put(
                    self._candidate(proposals[0]) if supernet is None else self._scores(proposals, supernet)
                )
            elif self._queue.awaited:
                break
            elif self._first.is_open:
                self._tell_first_batch()
            elif self._halved is not None and self._climb(self._halved):
                continue
            elif self._unsearched:
                self._retrain(self._unsearched.pop(0))
            elif self._added:
                self._search_further(self._added.pop(0))
            else:
                self._stage_1 = False
        return self._queue.next(more=self._stage_1)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`."""
        if not self._queue.record(job, outcome):
            return
        if job.phase == Phase.SUPERNET:
            self._stage_1 = outcome.ok  # without the supernet there is nothing to score with
        elif job.phase == Phase.SEARCH:
            if self._halved is not None:
                self._halved.record(job, outcome)
                return
            proposals = self._trials[job.name]
            if self._first.is_open:
                self._first.record(proposals[0].trial, outcome)
                return
            scores: Sequence[float | None] = outcome.metrics.get("scores") or [outcome.metrics.get("val_top1")] * len(
                proposals
            )
            for proposal, score in zip(proposals, scores, strict=True):
                self._strategy.tell(proposal.trial, score if outcome.ok else None)
        elif job.phase == Phase.RETRAIN and job.target is not None:
            jobs = self._retrains[job.target]
            if not self._queue.all_told(list(jobs)):
                return
            best = self._queue.best(list(jobs))
            if best is not None:
                self._won(jobs[best], self._queue.outcomes[best], job.target)

    def _won(self, job: Job, outcome: Outcome, target: int) -> None:
        """Deliver the best network for a target, which has just been trained."""
        text = f"found by {self._config.strategy.name} in {self._config.space}"
        self._queue.put(evaluation(self._view, job, self.name, text, int(outcome.metrics["macs"])))

    def _proposals(self) -> list[Proposal]:
        """The strategy's next proposals: one network, or as many as one job scores; none if it waits or is done."""
        most = self._config.scored_per_job if self._shares_weights else 1
        found: list[Proposal] = []
        while len(found) < most and isinstance(proposal := self._strategy.ask(), Proposal):
            found.append(proposal)
            # Predict the whole batch before any of its results arrive: otherwise predictions would depend on their order.
            for arch in self._strategy.proposed[len(self._predictions) :]:
                self._predictions.append(self._predicted(arch))
        return found

    def _tell_first_batch(self) -> None:
        """Once all proposed so far have ended, choose the epoch at which later candidates stop, and tell the values."""
        for trial, value in self._first.close(self._config.strategy.num_trials).items():
            self._strategy.tell(trial, value)

    def _halving(self, config: SearchConfig) -> HalvedCandidates | None:
        if config.halving is None or self._shares_weights:
            return None
        if not hasattr(self._strategy, "revise"):
            raise ValueError(
                f"routes.{self.name}.halving: strategy '{config.strategy.name}' has no method revise, by which it learns of "
                "candidates that continued; subclass BatchStrategy of nas_baseline.proposing.batch_strategy"
            )
        return HalvedCandidates(config.halving, self._view.recipe(config.candidate).epochs)

    def _climb(self, halved: HalvedCandidates) -> bool:
        """Once a rung has ended, let the best continue, or tell all values. Returns whether there was anything to do."""
        jobs = halved.promoted()
        for job in jobs:
            self._queue.put(job)
        if jobs:
            return True
        new, other = halved.news()
        if other:
            self._strategy.revise(other)
        for trial, value in new.items():
            self._strategy.tell(trial, value)
        return bool(new)

    def _rivals(self, arch: Arch) -> tuple[int | None, int]:
        """The group within which a candidate competes for the next rung: its stage, and the targets it is within."""
        if self._current is not None:
            target = self._current[0]
            return target, self._limits[target]
        macs = self._space.macs(arch)
        limits = sorted(self._limits[target] for target in self._view.search_targets(self.name).first)
        return None, next((limit for limit in limits if macs <= limit), limits[-1])

    def _search_further(self, target: int) -> None:
        """Continue within an added target, once all outcomes are told and the networks of earlier targets are chosen."""
        self._current = target, len(self._strategy.proposed)
        self._strategy.extend(self._limits[target], self._share)
        self._unsearched.append(target)

    def _trial_id(self, kind: str, trial: int) -> JobId:
        """The id of a search job; jobs for an added target are numbered from 0."""
        if self._current is None:
            return JobId(self.name, self.replicate, None, f"{kind}-{trial:03d}")
        target, first = self._current
        return JobId(self.name, self.replicate, target, f"{kind}-{trial - first:03d}")

    def _candidate(self, proposal: Proposal) -> Job:
        id = self._trial_id("candidate", proposal.trial)
        self._trials[str(id)] = [proposal]
        work = Train(self._recipe(proposal.arch, self._config.candidate), self._first.stop_epoch)
        job = self._job(id, Phase.SEARCH, work, proposal.arch, self._predictions[proposal.trial])
        if self._halved is None:
            return job
        return self._halved.begin(job, work, proposal.trial, self._rivals(proposal.arch))

    def _retrain(self, target: int) -> None:
        finalists = self._strategy.finalists(self._limits[target], self._config.num_predicted, self._config.num_seen)
        jobs = []
        for i, arch in enumerate(finalists):
            id = JobId(self.name, self.replicate, target, f"retrain-{i}")
            work = Train(self._recipe(arch, self._config.retrain))
            jobs.append(self._job(id, Phase.RETRAIN, work, arch, self._predicted(arch), self._inherited(arch)))
        self._retrains[target] = {job.name: job for job in jobs}
        for job in jobs:
            self._queue.put(job)

    def _recipe(self, arch: Arch, override: RecipeOverride) -> Recipe:
        own = {RECIPE_FIELD.get(k, k): v for k, v in self._space.recipe(arch).items()}
        return self._view.recipe(own, override)

    def _job(
        self, id: JobId, phase: Phase, work: Train, arch: Arch, predicted: Prediction | None, start: Start = FRESH
    ) -> Job:
        network = self._space.network_spec(arch, self._view.info.image_shape[0], self._view.info.task.num_outputs)
        side = None if self._config.image_size is None else self._space.image_size(arch)
        macs = self._space.macs(arch)
        return self._view.job(id, phase, work, network, macs, start=start, predicted=predicted, image_size=side)

    def _predicted(self, arch: Arch) -> Prediction | None:
        """The prediction for a network, if the strategy has a fitted predictor."""
        found = self._strategy.predict([arch])
        return None if found is None else Prediction(float(found[0][0]), float(found[1][0]))

    # Weight sharing.

    def _inherited(self, arch: Arch) -> Start:
        if self._supernet is None or not self._config.inherit:
            return FRESH
        return InheritedFrom(self._supernet.name, self._supernet.network, tuple(arch))

    def _train_supernet(self) -> Job:
        job = self._view.job(
            JobId(self.name, self.replicate, None, "supernet"),
            Phase.SUPERNET,
            TrainSupernet(self._view.recipe(self._config.supernet)),
            {"builder": "supernet", "space": self._space.data},
            self._space.max_macs(),
            # A sandwich: the largest member, the smallest, and two that lie between them on average.
            computed_macs=2 * (self._space.max_macs() + self._space.min_macs()),
        )
        self._queue.put(job)
        return job

    def _scores(self, proposals: list[Proposal], supernet: Job) -> Job:
        id = self._trial_id("scores", proposals[0].trial)
        self._trials[str(id)] = proposals
        archs = [proposal.arch for proposal in proposals]
        work, macs = Score(tuple(tuple(arch) for arch in archs)), int(self._space.macs_batch(archs).max())
        return self._view.job(id, Phase.SEARCH, work, supernet.network, macs, start=WeightsOf(supernet.name))


def _space(config: SearchConfig, view: View, route: str) -> StageSpace:
    """The space at the study's image size, or at the sizes to search, none of which exceeds it."""
    channels, side, _ = view.info.image_shape
    sizes = config.image_size
    if sizes is None:
        return load_space(config.space, channels, view.info.task.num_outputs, side)
    if shares_weights(config.strategy.name):
        raise ValueError(f"routes.{route}.image_size: {config.strategy.name} {ONE_SIZE}")
    space = load_space(config.space, channels, view.info.task.num_outputs, None if sizes == OWN_SIZES else sizes)
    largest = max(next(d for d in space.dimensions if d.name == "image_size").numbers)
    if largest > side:
        raise ValueError(
            f"routes.{route}.image_size: up to {largest} pixels a side, and the dataset gives {side}; name sizes up to "
            "that, or let dataset.image_size be the largest"
        )
    return space


def _check_recipes(space: StageSpace) -> None:
    """``ValueError`` for a choice in a space's recipe that the trainer does not accept."""
    for dimension in space.dimensions:
        section, _, key = dimension.name.partition(".")
        for choice in dimension.choices if section == "recipe" else ():
            try:
                RecipeOverride.model_validate({RECIPE_FIELD.get(key, key): choice})
            except ValidationError as error:
                message = error.errors()[0]["msg"]
                raise ValueError(f"space '{space.name}': {dimension.name} is {choice!r}: {message}") from None
