"""The search route: train candidates, fit the predictor between batches, retrain the best, deliver the winner.

One search (stage 1) serves all targets of the study; the predictor's best and the best seen are then retrained fully per
target, and validation decides. A simplified FBNetV3 procedure (arXiv 2006.02049); the strategies are in nas_baseline.
"""

from __future__ import annotations

from typing import Any

from accounting.records import Phase
from harness.config import RecipeOverride
from harness.jobs import Done, Job, Outcome, Wait
from harness.routes.base import Queue, View, evaluation
from nas_baseline.proposals import Proposal
from nas_baseline.proposals import Wait as StrategyWait
from nas_baseline.spaces import load_space
from nas_baseline.strategies import make_strategy

_RECIPE_FIELD = {"dropout": "drop_rate", "drop_path": "drop_path_rate"}


class SearchRoute:
    """One replicate. ``search`` × num_trials → per target ``retrain`` of the finalists → ``evaluate`` of the best."""

    name = "search"

    def __init__(self, view: View, replicate: int) -> None:
        assert view.config.routes.search is not None
        self.replicate = replicate
        self._view = view
        self._config = view.config.routes.search
        self._queue = Queue()
        channels, side, _ = view.info.image_shape
        self._space = load_space(self._config.space, channels, view.info.num_classes, side)
        strategy = self._config.strategy
        self._strategy = make_strategy(
            strategy.name,
            self._space,
            seed=view.seed(f"search-r{replicate}-strategy"),
            num_trials=strategy.num_trials,
            max_macs=list(view.config.targets),
            **strategy.options,
        )
        self._trials: dict[str, Proposal] = {}
        self._retrains: dict[int, dict[str, Job]] = {}
        self._stage_1 = True

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.Route`; may take seconds, where the predictor is fitted or evolution runs."""
        while self._stage_1:
            proposal = self._strategy.ask()
            if isinstance(proposal, Proposal):
                self._queue.put(self._candidate(proposal))
                break
            if isinstance(proposal, StrategyWait):
                return Wait()
            if self._queue.awaited:
                return Wait()
            self._stage_1 = False
            for target in self._view.config.targets:
                self._retrain(target)
        return self._queue.next(more=self._stage_1)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.Route`."""
        if not self._queue.record(job, outcome):
            return
        if job.phase == Phase.SEARCH:
            self._strategy.tell(self._trials[job.job].trial, outcome.metrics["val_top1"] if outcome.ok else None)
        elif job.phase == Phase.RETRAIN:
            jobs = self._retrains[int(job.target or 0)]
            if not self._queue.all_told(list(jobs)):
                return
            best = self._queue.best(list(jobs))
            if best is not None:
                macs = int(self._queue.outcomes[best].metrics["macs"])
                text = f"found by {self._config.strategy.name} in {self._config.space}"
                self._queue.put(evaluation(self._view, jobs[best], "search", text, macs))

    def _candidate(self, proposal: Proposal) -> Job:
        name = f"search-r{self.replicate}-candidate-{proposal.trial:03d}"
        self._trials[name] = proposal
        return self._job(name, Phase.SEARCH, None, proposal.arch, self._config.candidate)

    def _retrain(self, target: int) -> None:
        finalists = self._strategy.finalists(target, self._config.num_predicted, self._config.num_seen)
        jobs = [
            self._job(
                f"search-r{self.replicate}-t{target}-retrain-{i}", Phase.RETRAIN, target, arch, self._config.retrain
            )
            for i, arch in enumerate(finalists)
        ]
        self._retrains[target] = {job.job: job for job in jobs}
        for job in jobs:
            self._queue.put(job)

    def _job(self, name: str, phase: Phase, target: int | None, arch: Any, override: RecipeOverride) -> Job:
        own = {_RECIPE_FIELD.get(k, k): v for k, v in self._space.recipe(arch).items()}
        return Job(
            job=name,
            route=self.name,
            phase=phase,
            target=target,
            replicate=self.replicate,
            seed=self._view.seed(name),
            network=self._space.network_spec(arch, self._view.info.image_shape[0], self._view.info.num_classes),
            network_macs=self._space.macs(arch),
            recipe=self._view.recipe(own, override),
        )
