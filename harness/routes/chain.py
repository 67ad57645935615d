"""From a trained network to a delivered one at a target: prune and fine-tune by every method, and keep the best.

Shared by the routes ``prune`` and ``search_then_prune``. One-shot: ``prune`` → ``finetune``. Iterative: several such rounds,
which share the epochs. Gradual: one ``finetune`` that prunes as it trains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from accounting.ledger.records import Phase
from accounting.words.methods import Method
from accounting.words.names import method_label
from harness.config.blocks import PruneConfig
from harness.config.recipe import Recipe
from harness.jobs.identity import JobId
from harness.jobs.job import Job, Outcome
from harness.jobs.start import WeightsOf
from harness.jobs.work import Gradually, Prune, PruneRule, Train, Work
from harness.routes.base import Queue, View, evaluation
from pruning.schedules import iterative_targets


def structure_ids(route: str, replicate: int, target: int, config: PruneConfig) -> list[JobId]:
    """The jobs of the first method, up to and including the one whose masks or widths it delivers."""
    method = config.methods[0]
    if method.schedule == "gradual":
        return [_first(route, replicate, target, method, Phase.FINETUNE, 1)]
    last = config.rounds if method.schedule == "iterative" else 1
    ids = [
        _first(route, replicate, target, method, phase, turn)
        for turn in range(1, last + 1)
        for phase in (Phase.PRUNE, Phase.FINETUNE)
    ]
    return ids[:-1]


def _first(route: str, replicate: int, target: int, method: Method, phase: Phase, turn: int) -> JobId:
    """The id of a job in a chain that begins with the parent."""
    return JobId(route, replicate, target, "-".join(_steps(method, phase, turn)))


def _steps(method: Method, phase: Phase, turn: int) -> tuple[str, ...]:
    return (str(method), str(phase), *((str(turn),) if method.schedule == "iterative" else ()))


@dataclass(frozen=True)
class _Step:
    """A job's position in a chain: its method, its round (from 1), and the network with which the chain began."""

    method: Method
    turn: int
    parent: Job
    parent_macs: int


class PruneChain:
    """The pruning of one replicate of one route; its jobs go through the route's queue."""

    def __init__(self, view: View, config: PruneConfig, route: str, replicate: int, queue: Queue) -> None:
        self._view, self._config, self._route, self._replicate, self._queue = view, config, route, replicate, queue
        self._steps: dict[str, _Step] = {}
        self._jobs: dict[str, Job] = {}
        self._parents: dict[int, Job] = {}
        """The network to prune, by target."""

    def start(self, parent: Job, parent_macs: int, target: int) -> None:
        """Queue the first job of every method for a trained ``parent`` with ``parent_macs``.

        If a search found the parent for this target, job names begin with its name: another winner gives other jobs.
        """
        self._parents[target] = parent
        for method in self._config.methods:
            step = _Step(method, 1, parent, parent_macs)
            is_gradual = method.schedule == "gradual"
            self._put(self._prune_gradually(step, target) if is_gradual else self._prune(step, parent, target), step)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """Continue a chain after an outcome that the queue has recorded; other jobs are ignored."""
        step, target = self._steps.get(job.name), job.target
        if step is None or target is None:
            return
        if not outcome.ok:
            self._queue.outcomes[self._last(target, step.method)] = outcome
            self._deliver(target)
        elif job.phase == Phase.PRUNE:
            macs = int(outcome.metrics["macs"])
            self._put(self._finetune(step, job, target, macs), step)
        elif step.method.schedule == "iterative" and step.turn < self._config.rounds:
            following = replace(step, turn=step.turn + 1)
            self._put(self._prune(following, job, target), following)
        else:
            if self._config.deliver == "each":
                self._queue.put(self._evaluation(job.name, method_label(self._route, step.method)))
            self._deliver(target)

    def _put(self, job: Job, step: _Step) -> None:
        self._steps[job.name], self._jobs[job.name] = step, job
        self._queue.put(job)

    def _last(self, target: int, method: Method) -> str:
        last = self._config.rounds if method.schedule == "iterative" else 1
        return str(self._id(target, method, Phase.FINETUNE, last))

    def _id(self, target: int, method: Method, phase: Phase, turn: int) -> JobId:
        parent = self._parents[target].id
        if parent.target is None:
            return _first(self._route, self._replicate, target, method, phase, turn)
        return parent.then(*_steps(method, phase, turn))

    def _deliver(self, target: int) -> None:
        """Once every method has ended, deliver the network with the best validation accuracy."""
        jobs = [self._last(target, method) for method in self._config.methods]
        if self._queue.all_told(jobs) and (best := self._queue.best(jobs)) is not None:
            self._queue.put(self._evaluation(best, self._route))

    def _evaluation(self, trained: str, label: str) -> Job:
        job, step = self._jobs[trained], self._steps[trained]
        macs = int(self._queue.outcomes[trained].metrics["macs"])
        method = str(step.method).replace("_", " ").replace("+", ", ")
        is_parent = step.parent.phase == Phase.PRETRAIN
        text = f"{'parent' if is_parent else 'network found by search'} pruned by {method} and fine-tuned"
        parent = self._view.parent_text if is_parent else step.parent.name
        return evaluation(self._view, job, label, text, macs, parent)

    def _rule(self, step: _Step, target_macs: int) -> PruneRule:
        config = self._config
        return PruneRule(
            step.method, target_macs, config.floor, config.channel_floor, config.round_to, tuple(config.keep)
        )

    def _prune(self, step: _Step, source: Job, target: int) -> Job:
        macs = target
        if step.method.schedule == "iterative" and target < step.parent_macs:
            macs = iterative_targets(step.parent_macs, target, self._config.rounds)[step.turn - 1]
        return self._job(step, source, target, Phase.PRUNE, macs, Prune(self._rule(step, macs)))

    def _finetune(self, step: _Step, pruned: Job, target: int, macs: int) -> Job:
        recipe = self._recipe(step.method)
        if step.method.schedule == "iterative":
            # Rounds share the epochs as evenly as possible; the last ones get one more.
            rounds = self._config.rounds
            epochs = recipe.epochs * step.turn // rounds - recipe.epochs * (step.turn - 1) // rounds
            recipe = recipe.model_copy(update={"epochs": epochs})
        return self._job(step, pruned, target, Phase.FINETUNE, macs, Train(recipe))

    def _recipe(self, method: Method) -> Recipe:
        recipe = self._view.recipe(self._config.finetune)
        return recipe.model_copy(update={"distill": self._config.distilled}) if method.is_distilled else recipe

    def _prune_gradually(self, step: _Step, target: int) -> Job:
        rule, start_macs = self._rule(step, target), max(step.parent_macs, target)
        work = Train(self._recipe(step.method), gradually=Gradually(rule, start_macs, self._config.gradual_end))
        # Has the parent's MACs: until the schedule ends, no epoch's network is within the target.
        return self._job(step, step.parent, target, Phase.FINETUNE, step.parent_macs, work)

    def _job(self, step: _Step, source: Job, target: int, phase: Phase, macs: int, work: Work) -> Job:
        return self._view.job(
            self._id(target, step.method, phase, step.turn),
            phase,
            work,
            step.parent.network,
            macs,
            computed_macs=macs if step.method.is_structured else step.parent_macs,
            is_smaller=step.method.is_structured,
            start=WeightsOf(source.name),
            image_size=step.parent.image_size,
        )
