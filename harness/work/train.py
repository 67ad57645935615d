"""Training jobs: a network, pruned during training if the job says so, or a supernet."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from torch import Tensor, nn

from accounting.ledger.outcomes import FileSums, JobOutcome
from accounting.ledger.records import Phase
from accounting.words.quantities import macs_text
from harness.config.recipe import Recipe
from harness.jobs.files import DamagedFiles
from harness.jobs.work import RangeTest, Train, TrainSupernet
from harness.training.course import Course
from harness.training.loop import Hooks, Trained, train
from harness.training.lr_range import Recorder, chosen_rate, rate_at
from harness.training.resume import StateFiles, StateLost, identity_of
from harness.training.updates import Diverged
from harness.work.bench import Bench
from harness.work.prune import counts, gradual_pruner
from harness.work.supernet import supernet_course
from pruning.masks import apply_masks, masks_from_model
from pruning.recount import MacsDiffer


def train_network(work: Train, bench: Bench) -> JobOutcome:
    """Train the job's network and return its outcome. A search candidate leaves no files, or a state to continue from.

    Raises:
        DamagedFiles: the state that it continues from is lost.
        MacsDiffer: a pruned network has more MACs after its fine-tuning.

    """
    job, gradually = bench.job, work.gradually
    model = bench.network(work.recipe)
    masks = bench.masks() if gradually is None else {}
    apply_masks(model, masks)
    course = Course(stop_epoch=work.stop_epoch)
    if gradually is not None:
        course = Course(masks=gradual_pruner(gradually, job.seed, bench.splits).masks)
        masks = masks_from_model(model)
    trained = _train(model, work.recipe, course, masks, bench)
    counted = counts(trained.model, bench.splits.info.image_shape)
    if job.phase == Phase.FINETUNE:
        limit = job.counted_macs if gradually is None else gradually.rule.target_macs
        if counted["macs"] > limit:
            raise MacsDiffer(
                f"the fine-tuned network has {macs_text(counted['macs'])} MACs and was pruned to {macs_text(limit)}"
            )
    kept = FileSums() if job.phase in (Phase.SEARCH, Phase.TUNE) else bench.keep(trained.model, trained.masks)
    kept |= bench.left_state()
    outcome: JobOutcome = {**counted, **kept, "val_top1": trained.val_top1, **_curve(trained)}
    if work.stop_epoch is not None:
        outcome["stopped_epoch"] = work.stop_epoch
    return outcome


def test_rates(work: RangeTest, bench: Bench) -> JobOutcome:
    """Find a learning rate for the job's network and return the outcome; network and accuracy are discarded."""
    model, masks = bench.network(work.recipe), bench.masks()
    apply_masks(model, masks)
    num_updates = max(1, len(bench.splits.train) // work.recipe.batch_size)
    recipe = work.recipe.model_copy(update={"epochs": 1, "warmup_epochs": 0.0, "accumulate": 1, "compile": False})
    recorder = Recorder()
    course = Course(losses=recorder, lr=lambda update: rate_at(update, num_updates, recipe.lr))
    with contextlib.suppress(Diverged):  # expected if the test reaches high enough rates
        # Its losses are in no state, and its accuracy is of no network that counts.
        _train(model, recipe, course, masks, replace(bench, every_s=None, epoch=lambda epoch: None))
    return {"chosen_lr": chosen_rate(recorder.losses, num_updates, recipe.lr), "epochs": 1}


def train_supernet(work: TrainSupernet, bench: Bench) -> JobOutcome:
    """Train shared weights. Only the largest member is measured, which says nothing about a network within a target."""
    model = bench.network(work.recipe)
    trained = _train(model, work.recipe, supernet_course(model, bench.splits.info.task), {}, bench)
    return {"supernet_val_top1": trained.val_top1, **_curve(trained), **bench.keep(trained.model, trained.masks)}


def _train(model: nn.Module, recipe: Recipe, course: Course, masks: dict[str, Tensor], bench: Bench) -> Trained:
    try:
        return train(
            model,
            bench.splits,
            recipe,
            seed=bench.job.seed,
            device=bench.device,
            masks=masks,
            files=StateFiles(bench.paths.resume(bench.job.name), identity_of(bench.job), bench.relay()),
            hooks=Hooks(bench.begun, bench.epoch, bench.dropped, bench.stop, bench.saved),
            course=replace(course, teacher=bench.teacher()),
            crew=bench.crew,
            every_s=bench.every_s,
        )
    except StateLost as error:
        raise DamagedFiles(str(bench.job.source), f"lost training state ({error})") from error


def _curve(trained: Trained) -> JobOutcome:
    return {"epochs": len(trained.val_curve), "val_curve": list(trained.val_curve)}
