"""Tuning before training: the jobs that try settings of a recipe, and the training with the best of them.

Every training whose network may be delivered (``retrain``, ``finetune``) is tuned separately for each network, target and
replicate, so replicates stay independent. Trials train the same network as the job for the same number of epochs. They share
one seed, which differs from the job's, so what is chosen is the setting and not a lucky draw. They are judged on the whole
validation split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from accounting.ledger.records import Phase
from harness.config.phases import TUNED
from harness.config.recipe import Recipe, is_tuned
from harness.config.tune import LR_RANGE, OFF, Tune
from harness.jobs.job import Job, Outcome
from harness.jobs.work import RangeTest, Train


def trials_of(job: Job) -> list[Job]:
    """The jobs that choose settings for a training; none if its recipe is fixed."""
    if job.phase not in TUNED or not isinstance(job.work, Train) or not is_tuned(job.work.recipe):
        return []
    recipe = job.work.recipe
    plain = recipe.model_copy(update={"tune": OFF})
    seed = int(np.random.SeedSequence([job.seed, 1]).generate_state(1)[0] >> 1)
    tried = replace(job, phase=Phase.TUNE, seed=seed, predicted=None)
    if recipe.tune == LR_RANGE:
        return [replace(tried, id=job.id.then("lr_range"), work=RangeTest(plain))]
    settings = recipe.tune.settings(seed) if isinstance(recipe.tune, Tune) else []
    return [
        replace(tried, id=job.id.then(f"tune-{i}"), work=replace(job.work, recipe=plain.model_copy(update=setting)))
        for i, setting in enumerate(settings)
    ]


def tuned(job: Job, trials: Sequence[Job], outcomes: Mapping[str, Outcome]) -> Job:
    """The training with the best settings (the first of equals); with the given ones if every trial failed."""
    if not isinstance(job.work, Train):
        return job
    recipe = job.work.recipe.model_copy(update={"tune": OFF} | _found(trials, outcomes))
    return replace(job, work=replace(job.work, recipe=recipe), tuned_by=tuple(trial.name for trial in trials))


def _found(trials: Sequence[Job], outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    ok = [(trial, outcomes[trial.name].metrics) for trial in trials if outcomes[trial.name].ok]
    if not ok:
        return {}
    best, metrics = max(ok, key=lambda pair: pair[1].get("val_top1", 0.0))
    if isinstance(best.work, RangeTest):
        lr, min_lr = metrics["chosen_lr"], best.work.recipe.min_lr
        return {"lr": lr} | ({"min_lr": lr} if lr < min_lr else {})  # the rate never rises after its warm-up
    return _settings(best.work.recipe) if isinstance(best.work, Train) else {}


def _settings(recipe: Recipe) -> dict[str, float]:
    return {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
