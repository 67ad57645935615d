"""What the work of an attempt begins with and leaves: its network, the masks that hold it, its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accounting.ledger.outcomes import FileSums
from accounting.study.folder import StudyFolder
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
    """The job, the study's folder and data, the device; whom to tell that work begins and of every epoch; who shares it."""

    job: Job
    paths: StudyFolder
    splits: Splits
    device: torch.device
    begun: Callable[[int], None]
    epoch: Callable[[Epoch], None]
    crew: Crew = ALONE
    dropped: Callable[[str], None] = lambda why: None
    """Told why a state to continue from was not trusted, before work begins."""
    stop: Callable[[], str | None] = lambda: None
    """Asked after each epoch whose state is kept: why the job is to end there; None: it continues."""

    def network(self, **rates: float) -> nn.Module:
        """The job's network with the weights that it begins with, of the sizes that those have.

        ``rates``: dropout and stochastic depth, where it is trained.
        """
        model = build_network(with_regularisation(self.job.network, rates))
        match self.job.start:
            case Checkpoint(given):
                path = checkpoint_path(given)
                fit_checkpoint(model, load_checkpoint(path), path)
            case InheritedFrom(job, spec, arch):
                supernet = build_network(spec)
                supernet.load_state_dict(load_tensors(self.paths.weights(job)))
                if isinstance(supernet, Supernet):
                    model.load_state_dict(supernet.extract(arch))
                else:
                    model = fit_to_state(model, Subnets(supernet, self.splits.info.image_shape).state(arch))
            case WeightsOf(job):
                model = fit_to_state(model, load_tensors(self.paths.weights(job)))
            case StructureOf(job) if not self.paths.masks(job).exists():
                model = fresh_like(model, load_tensors(self.paths.weights(job)))
            case (
                StructureOf() | Fresh() | StateOf()
            ):  # a state has the weights, and more: it is taken where training begins
                pass
        return model

    def masks(self) -> dict[str, Tensor]:
        """The masks of what the job starts from, or whose structure it takes; empty where that has none."""
        start = self.job.start
        if not isinstance(start, WeightsOf | StructureOf) or not self.paths.masks(start.job).exists():
            return {}
        masks = from_tensors(load_tensors(self.paths.masks(start.job)))
        return shuffle_masks(masks, self.job.seed) if isinstance(start, StructureOf) and start.shuffled else masks

    def teacher(self) -> AtOwnSize | None:
        """Whom the job learns from, as it is shown images; built after the job's own network, which draws first."""
        teacher = self.job.teacher
        if teacher is None:
            return None
        weights = None if teacher.job is None else self.paths.weights(teacher.job)
        return AtOwnSize(teacher_network(teacher, weights), teacher)

    def keep(self, model: nn.Module, masks: dict[str, Tensor]) -> FileSums:
        """Write weights and masks for later jobs; their checksums, for the outcome. Of several workers the first does."""
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
        """Where the job's training was begun, and where it is left for another to continue."""
        start, work, name = self.job.start, self.job.work, self.job.name
        after = self.paths.state(name) if isinstance(work, Train) and work.leaves_state else None
        if not isinstance(start, StateOf):
            return WHOLE if after is None else Relay(training_of(self.job), after=after)
        return Relay(training_of(self.job), self.paths.state(start.job), start.epochs, after)

    def left_state(self) -> FileSums:
        """The checksum of the state that the job has left, for the outcome."""
        if not isinstance(self.job.work, Train) or not self.job.work.leaves_state or not self.crew.is_first:
            return FileSums()
        return {"state_sha256": sha256_of(self.paths.state(self.job.name))}
