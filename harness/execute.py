"""One attempt at one job, in the process that holds the device: do it, meter it, write it down."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accounting.heartbeat import heartbeat
from accounting.ledger import LedgerWriter
from accounting.macs import count_macs
from accounting.meters import Meter
from accounting.nvml import open_reader
from accounting.records import Kind, Phase, Status
from harness.config import DatasetConfig, Recipe
from harness.data.base import Splits
from harness.data.registry import open_dataset
from harness.deliver import deliver
from harness.devices import Held
from harness.jobs import Job, Outcome
from harness.models import (
    build_network,
    fit_checkpoint,
    load_checkpoint,
    load_tensors,
    save_tensors,
    with_regularisation,
)
from harness.paths import StudyPaths
from harness.training import Diverged, Epoch, Hooks, evaluate, recalibrate_batch_norm, seed_everything, train
from pruning.criteria import load_criterion
from pruning.masks import apply_masks, from_tensors, to_tensors
from pruning.solve import UnreachableTarget, prune_to_macs

log = logging.getLogger(__name__)

HEARTBEAT_S = 2.0


@dataclass(frozen=True)
class Workplace:
    """What an attempt needs beside its job: where the study lies, its session, data, and the devices held."""

    paths: StudyPaths
    session: str
    dataset: DatasetConfig
    held: Held


def execute(job: Job, place: Workplace) -> Outcome:
    """Try ``job`` once. A reason that would come again (divergence, unreachable target) is a failed outcome.

    Anything else is raised again after it has been written to the ledger, for the scheduler to try anew.
    """
    attempt = f"{job.job}#{uuid.uuid4().hex[:8]}"
    with LedgerWriter(place.paths.ledger, place.session, "worker") as ledger:
        reader = open_reader()
        meter = Meter(reader, time.time)
        meter.begin(attempt, tuple(place.held.devices))
        ledger.append(
            Kind.ATTEMPT_STARTED,
            session=place.session,
            attempt=attempt,
            job=job.job,
            route=job.route,
            phase=job.phase,
            target=job.target,
            replicate=job.replicate,
            allocation=place.held.allocation,
            devices=place.held.devices,
            meter=reader.meter,
            network_macs=job.network_macs,
            spec=asdict(job),
            heartbeat_s=HEARTBEAT_S,
        )

        def end(status: Status, work_end_t: float | None, reason: str | None, outcome: dict[str, Any] | None) -> None:
            ledger.append(
                Kind.ATTEMPT_ENDED,
                attempt=attempt,
                status=status,
                reason=reason,
                outcome=outcome,
                work_end_t=work_end_t,
                measurement=asdict(meter.end(attempt)),
            )

        try:
            with heartbeat(ledger, attempt, HEARTBEAT_S):
                metrics = _Work(job, place, ledger, attempt).run()
        except (Diverged, UnreachableTarget) as error:
            end(Status.FAILED, time.time(), str(error), None)
            return Outcome(ok=False, reason=str(error))
        except BaseException as error:
            end(Status.FAILED, time.time(), f"{type(error).__name__}: {error}".splitlines()[0], None)
            raise
        end(Status.OK, time.time(), None, metrics)
        _forget_resume(job.job, place.paths)
        return Outcome(ok=True, metrics=metrics)


@dataclass(frozen=True)
class _Work:
    """The work of one attempt, by phase."""

    job: Job
    place: Workplace
    ledger: LedgerWriter
    attempt: str

    def run(self) -> dict[str, Any]:
        torch.set_num_threads(self.place.held.num_threads)
        seed_everything(self.job.seed, 0)
        splits = open_dataset(self.place.dataset).splits()
        if self.job.phase == Phase.EVALUATE:
            self._begun(0)
            return deliver(self.job, self.place.paths, splits, self.place.dataset, self._device)
        if self.job.phase == Phase.PRUNE:
            return self._prune(splits)
        return self._train(splits)

    def _train(self, splits: Splits) -> dict[str, Any]:
        paths, job = self.place.paths, self.job
        recipe = Recipe.model_validate(job.recipe)
        model = build_network(with_regularisation(job.network, job.recipe))
        if job.checkpoint is not None:
            fit_checkpoint(model, load_checkpoint(Path(job.checkpoint)), Path(job.checkpoint))
        if job.init_from is not None:
            model.load_state_dict(load_tensors(paths.weights(job.init_from)))
        masked = job.masks_from or (job.init_from if job.phase == Phase.FINETUNE else None)
        masks = from_tensors(load_tensors(paths.masks(masked))) if masked else {}
        apply_masks(model, masks)
        model, val_top1 = train(
            model,
            splits,
            recipe,
            seed=job.seed,
            device=self._device,
            masks=masks,
            resume=paths.resume(job.job),
            hooks=Hooks(self._begun, self._epoch),
        )
        if job.phase != Phase.SEARCH:
            self._keep(model, masks)
        return {**self._counts(model, splits), "val_top1": val_top1, "epochs": recipe.epochs}

    def _prune(self, splits: Splits) -> dict[str, Any]:
        job, prune = self.job, self.job.prune or {}
        model = build_network(job.network)
        model.load_state_dict(load_tensors(self.place.paths.weights(str(job.init_from))))
        self._begun(0)
        batches = list(_first(splits, 4)) if load_criterion(prune["criterion"]).needs_gradients else None
        result = prune_to_macs(
            model,
            splits.info.image_shape,
            prune["target_macs"],
            criterion=prune["criterion"],
            scope=prune["scope"],
            floor=prune["floor"],
            seed=job.seed,
            batches=batches,
        )
        apply_masks(model, result.masks)
        model = model.to(self._device, memory_format=torch.channels_last)
        recalibrate_batch_norm(model, splits.train, 128, self._device)
        val_top1 = evaluate(model, splits.val, self._device)
        self._keep(model, result.masks)
        layers = [asdict(layer) for layer in result.layers]
        return {**self._counts(model, splits), "val_top1": val_top1, "epochs": 0, "layers": layers}

    @property
    def _device(self) -> torch.device:
        return torch.device(self.place.held.torch_device)

    def _keep(self, model: nn.Module, masks: dict[str, Tensor]) -> None:
        paths = self.place.paths
        if masks:
            save_tensors(to_tensors(masks), paths.masks(self.job.job))
        save_tensors(model.state_dict(), paths.weights(self.job.job))

    @staticmethod
    def _counts(model: nn.Module, splits: Splits) -> dict[str, Any]:
        report = count_macs(model, splits.info.image_shape)
        return {
            "macs": report.sparse_macs,
            "dense_macs": report.macs,
            "params": report.params,
            "nonzero_params": report.nonzero,
        }

    def _begun(self, epochs_done: int) -> None:
        self.ledger.append(Kind.WORK_BEGUN, attempt=self.attempt, epoch=epochs_done)

    def _epoch(self, epoch: Epoch) -> None:
        self.ledger.append(
            Kind.PROGRESS,
            attempt=self.attempt,
            epoch=epoch.epoch,
            num_epochs=epoch.num_epochs,
            val_top1=epoch.val_top1,
            train_loss=epoch.train_loss,
            checkpointed=epoch.checkpointed,
        )


def _forget_resume(job: str, paths: StudyPaths) -> None:
    """Only once the outcome is on record: a kill before that must find the last epoch's state."""
    paths.resume(job).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a finished candidate leaves nothing; other jobs' folders hold their weights
        paths.checkpoint(job).rmdir()


def _first(splits: Splits, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    for number, batch in enumerate(splits.train.batches(64, torch.device("cpu"), augment="none")):
        if number == count:
            return
        yield batch
