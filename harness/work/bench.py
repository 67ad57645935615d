"""What an attempt's work starts from and leaves behind: its network, the masks that hold it, and its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accounting.ledger.outcomes import FileSums
from accounting.study.folder import StudyFolder
from harness.config.recipe import Recipe
from harness.data.base import Splits
from harness.jobs.files import checksums, sha256_of
from harness.jobs.job import Job
from harness.jobs.start import Checkpoint, Fresh, InheritedFrom, StateOf, StructureOf, WeightsOf
from harness.jobs.teachers import teacher_network
from harness.jobs.work import Train
from harness.models.build import (
    build_network,
    checkpoint_path,
    fit_checkpoint,
    load_checkpoint,
    load_tensors,
    save_tensors,
    with_regularisation,
)
from harness.models.classifier import scale_initial, untrained_classifier
from harness.training.distillation import AtOwnSize
from harness.training.loop import Epoch
from harness.training.resume import WHOLE, Relay, training_of
from harness.training.workers import ALONE, Crew
from nas_baseline.supernet.supernet import Supernet
from pruning.masks import from_tensors, shuffle_masks, to_tensors
from pruning.resize import fit_to_state, fresh_like
from pruning.subnets import Subnets


@dataclass(frozen=True)
class Bench:
    """The job, its study folder, data and device, callbacks for its start and each epoch, and the crew sharing it."""

    job: Job
    paths: StudyFolder
    splits: Splits
    device: torch.device
    begun: Callable[[float], None]
    epoch: Callable[[Epoch], None]
    crew: Crew = ALONE
    dropped: Callable[[str], None] = lambda why: None
    """Called before work begins with the reason why a saved state was not trusted."""
    stop: Callable[[], str | None] = lambda: None
    """Called wherever the state is saved; returns why the job should end there, or None to continue."""
    saved: Callable[[float], None] = lambda epochs: None
    """Called after the state was saved within an epoch, with the epochs done until then."""
    every_s: float | None = None
    """After how many seconds within an epoch the state is saved; None: only at its end."""

    def network(self, recipe: Recipe | None = None) -> nn.Module:
        """The job's network with its initial weights, in the sizes of those weights.

        ``recipe``: how it is trained, if it is: its dropout and stochastic depth, and where a new classifier starts.
        """
        spec = self.job.network
        model = build_network(spec if recipe is None else with_regularisation(spec, recipe.model_dump()))
        new, usual_scale = untrained_classifier(model, spec)
        match self.job.start:
            case Checkpoint(given):
                path = checkpoint_path(given)
                new, usual_scale = fit_checkpoint(model, load_checkpoint(path), path), 0.0
            case InheritedFrom(job, shared, arch):
                new, supernet = [], build_network(shared)
                supernet.load_state_dict(load_tensors(self.paths.weights(job)))
                if isinstance(supernet, Supernet):
                    model.load_state_dict(supernet.extract(arch))
                else:
                    model = fit_to_state(model, Subnets(supernet, self.splits.info.image_shape).state(arch))
            case WeightsOf(job):
                new, model = [], fit_to_state(model, load_tensors(self.paths.weights(job)))
            case StructureOf(job) if not self.paths.masks(job).exists():
                model = fresh_like(model, load_tensors(self.paths.weights(job)))
            case (
                StructureOf() | Fresh() | StateOf()
            ):  # a state includes the weights; it is loaded where training begins
                pass
        scale = None if recipe is None else recipe.head_init_scale
        scale_initial(model, new, usual_scale if scale is None else scale)
        return model

    def masks(self) -> dict[str, Tensor]:
        """The masks of the network that the job starts from, or whose structure it takes; empty if that has none."""
        start = self.job.start
        if not isinstance(start, WeightsOf | StructureOf) or not self.paths.masks(start.job).exists():
            return {}
        masks = from_tensors(load_tensors(self.paths.masks(start.job)))
        return shuffle_masks(masks, self.job.seed) if isinstance(start, StructureOf) and start.shuffled else masks

    def teacher(self) -> AtOwnSize | None:
        """The job's teacher, wrapped to resize its images.

        Build it after the job's own network, which draws random numbers first.
        """
        teacher = self.job.teacher
        if teacher is None:
            return None
        weights = None if teacher.job is None else self.paths.weights(teacher.job)
        return AtOwnSize(teacher_network(teacher, weights), teacher)

    def keep(self, model: nn.Module, masks: dict[str, Tensor]) -> FileSums:
        """Write weights and masks for later jobs, and return their checksums. Only the first worker does."""
        if not self.crew.is_first:
            return FileSums()
        name = self.job.name
        if masks:
            save_tensors(to_tensors(masks), self.paths.masks(name))
        else:
            self.paths.masks(name).unlink(missing_ok=True)
        save_tensors(model.state_dict(), self.paths.weights(name))
        return checksums(name, self.paths)

    def relay(self) -> Relay:
        """Where the job's training was begun, and where its state is left for another job to continue."""
        start, work, name = self.job.start, self.job.work, self.job.name
        after = self.paths.state(name) if isinstance(work, Train) and work.leaves_state else None
        if not isinstance(start, StateOf):
            return WHOLE if after is None else Relay(training_of(self.job), after=after)
        return Relay(training_of(self.job), self.paths.state(start.job), start.epochs, after)

    def left_state(self) -> FileSums:
        """The checksum of the state that the job left, for the outcome."""
        if not isinstance(self.job.work, Train) or not self.job.work.leaves_state or not self.crew.is_first:
            return FileSums()
        return {"state_sha256": sha256_of(self.paths.state(self.job.name))}
