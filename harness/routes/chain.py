"""From one trained network to a delivered one at a target: prune and fine-tune by every method, keep the best.

Shared by the routes ``prune`` and ``search_then_prune``. One-shot: ``prune`` → ``finetune``. Iterative: that in rounds,
which share the epochs. Gradual: one ``finetune`` that prunes as it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from accounting.ledger.records import Phase
from accounting.words.methods import Method
from harness.config.routes import PruneConfig
from harness.jobs.job import Job, Outcome
from harness.routes.base import Queue, View, evaluation
from pruning.schedules import iterative_targets


def structure_job(route: str, replicate: int, target: int, config: PruneConfig) -> str:
    """The job whose masks or widths are those that the first method delivers."""
    method = config.methods[0]
    phase = Phase.FINETUNE if method.schedule == "gradual" else Phase.PRUNE
    last = config.rounds if method.schedule == "iterative" else 1
    return _name(f"{route}-r{replicate}-t{target}", method, phase, last)


def _name(start: str, method: Method, phase: Phase, turn: int) -> str:
    base = f"{start}-{method}-{phase}"
    return f"{base}-{turn}" if method.schedule == "iterative" else base


@dataclass(frozen=True)
class _Step:
    """Where a job stands: its method, its round (from 1), and the network that the whole began with."""

    method: Method
    turn: int
    parent: Job
    parent_macs: int


class PruneChain:
    """One replicate of one route; its jobs go through the route's queue."""

    def __init__(self, view: View, config: PruneConfig, route: str, replicate: int, queue: Queue) -> None:
        self._view, self._config, self._route, self._replicate, self._queue = view, config, route, replicate, queue
        self._steps: dict[str, _Step] = {}
        self._jobs: dict[str, Job] = {}
        self._starts: dict[int, str] = {}

    def start(self, parent: Job, parent_macs: int, target: int) -> None:
        """Propose the first job of every method; ``parent`` is trained and has ``parent_macs``.

        Where it was found for this target, the jobs' names begin with its name: another winner's are others.
        """
        self._starts[target] = f"{self._route}-r{self._replicate}-t{target}" if parent.target is None else parent.job
        for method in self._config.methods:
            step = _Step(method, 1, parent, parent_macs)
            self._put(self._finetune(step, parent, target) if method.schedule == "gradual" else
                      self._prune(step, parent, target), step)  # fmt: skip

    def tell(self, job: Job, outcome: Outcome) -> None:
        """An outcome that the queue has recorded; others' jobs are left alone."""
        step, target = self._steps.get(job.job), int(job.target or 0)
        if step is None:
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
                self._queue.put(self._evaluation(job.job, f"{self._route}:{step.method}"))
            self._deliver(target)

    def _put(self, job: Job, step: _Step) -> None:
        self._steps[job.job], self._jobs[job.job] = step, job
        self._queue.put(job)

    def _last(self, target: int, method: Method) -> str:
        last = self._config.rounds if method.schedule == "iterative" else 1
        return _name(self._starts[target], method, Phase.FINETUNE, last)

    def _deliver(self, target: int) -> None:
        """Deliver the best on validation once every method has ended."""
        jobs = [self._last(target, method) for method in self._config.methods]
        if self._queue.all_told(jobs) and (best := self._queue.best(jobs)) is not None:
            self._queue.put(self._evaluation(best, self._route))

    def _evaluation(self, trained: str, label: str) -> Job:
        job, step = self._jobs[trained], self._steps[trained]
        macs = int(self._queue.outcomes[trained].metrics["macs"])
        method = str(step.method).replace("_", " ").replace("+", ", ")
        origin = "network found by search" if self._route != "prune" else "parent"
        text = f"{origin} pruned by {method} and fine-tuned"
        parent = self._view.parent_text if self._route == "prune" else step.parent.job
        return evaluation(self._view, job, label, text, macs, parent)

    def _rule(self, step: _Step, target_macs: int) -> dict[str, Any]:
        config = self._config
        return {
            "method": str(step.method),
            "scope": step.method.scope,
            "criterion": step.method.criterion,
            "target_macs": target_macs,
            "floor": config.floor,
            "channel_floor": config.channel_floor,
            "round_to": config.round_to,
            "keep": config.keep,
        }

    def _prune(self, step: _Step, source: Job, target: int) -> Job:
        macs = target
        if step.method.schedule == "iterative" and target < step.parent_macs:
            macs = iterative_targets(step.parent_macs, target, self._config.rounds)[step.turn - 1]
        return self._job(step, source, target, Phase.PRUNE, macs, {}, self._rule(step, macs))

    def _finetune(self, step: _Step, source: Job, target: int, macs: int | None = None) -> Job:
        recipe = self._view.recipe(self._config.finetune)
        rule = None
        if step.method.schedule == "iterative":
            # The rounds share the epochs as evenly as they go; the last ones have one more.
            epochs, rounds = recipe["epochs"], self._config.rounds
            recipe["epochs"] = epochs * step.turn // rounds - epochs * (step.turn - 1) // rounds
        elif step.method.schedule == "gradual":
            rule = {
                **self._rule(step, target),
                "start_macs": max(step.parent_macs, target),
                "end": self._config.gradual_end,
            }
            macs = step.parent_macs  # until the schedule has ended, no epoch's network is within the target
        assert macs is not None
        return self._job(step, source, target, Phase.FINETUNE, macs, recipe, rule)

    def _job(
        self, step: _Step, source: Job, target: int, phase: Phase, macs: int, recipe: dict[str, Any],
        rule: dict[str, Any] | None,
    ) -> Job:  # fmt: skip
        name = _name(self._starts[target], step.method, phase, step.turn)
        return Job(
            job=name,
            route=self._route,
            phase=phase,
            target=target,
            replicate=self._replicate,
            seed=self._view.seed(name),
            network=step.parent.network,
            network_macs=macs,
            computed_macs=macs if step.method.is_structured else step.parent_macs,
            is_smaller=step.method.is_structured,
            recipe=recipe,
            init_from=source.job,
            prune=rule,
        )
