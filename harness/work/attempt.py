"""One attempt at one job, in the process that holds the device: do it, meter it, write it down."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from accounting.ledger.heartbeat import heartbeat
from accounting.ledger.records import Kind, Phase, Status
from accounting.ledger.store import LedgerWriter, shared_writer
from accounting.meters.meter import Meter
from accounting.meters.nvml import open_reader
from accounting.study.plugins import PluginFile, use
from harness.config.recipe import Recipe
from harness.config.study import DatasetConfig
from harness.data.base import Splits
from harness.data.registry import open_dataset
from harness.data.unchanged import DataChanged, check_unchanged
from harness.delivery.costs import cost_so_far
from harness.delivery.deliver import deliver
from harness.delivery.exports import export
from harness.devices import Held
from harness.errors import typed_line
from harness.jobs.files import DamagedFiles, Given, check_sources, checksums
from harness.jobs.job import Job, Outcome
from harness.jobs.taken import TakenOver, has_later_attempt, outcome_on_record
from harness.models.build import (
    build_network,
    checkpoint_path,
    fit_checkpoint,
    load_checkpoint,
    load_tensors,
    save_tensors,
    with_regularisation,
)
from harness.paths import StudyPaths
from harness.training.loop import (
    Course,
    Diverged,
    Epoch,
    Hooks,
    evaluate,
    recalibrate_batch_norm,
    seed_everything,
    train,
)
from harness.training.resume import identity_of
from harness.work.liveness import Life, watched
from harness.work.prune import counts, gradual_pruner, prune
from harness.work.scan import scan
from harness.work.supernet import score, supernet_course
from pruning.deadline import MachineTooBusy, NotFollowed
from pruning.masks import apply_masks, from_tensors, masks_from_model, shuffle_masks, to_tensors
from pruning.recount import MacsDiffer, check_macs
from pruning.resize import fit_to_state, fresh_like
from pruning.solve import UnreachableTarget

log = logging.getLogger(__name__)

HEARTBEAT_S = 2.0


@dataclass(frozen=True)
class Workplace:
    """What an attempt needs beside its job: where the study lies, its session, data, and the devices held."""

    paths: StudyPaths
    session: str
    dataset: DatasetConfig
    held: Held
    given: Given | None = None
    """What is on record of the files that the job uses; None: they are not verified."""
    life: Life = field(default_factory=Life)
    plugins: tuple[PluginFile, ...] = ()
    """Files of a user's own that the study names, in its folder."""
    since_t: float = float("inf")
    """When the job was proposed: an outcome that is on record since then is another attempt's at the same proposal."""


def execute(job: Job, place: Workplace) -> Outcome:
    """Try ``job`` once. A reason that would come again (divergence, a target out of reach) is a failed outcome.

    Anything else is raised again after it has been written to the ledger, for the scheduler to try anew. A job whose outcome
    is on record, by an attempt whose node was believed dead, is not begun again.
    """
    use(place.plugins)
    if (known := outcome_on_record(place.paths.ledger, job.job, place.since_t)) is not None:
        return Outcome(ok=True, metrics=known)
    attempt = f"{job.job}#{uuid.uuid4().hex[:8]}"
    with shared_writer(place.paths.ledger, place.session, "worker") as ledger:
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
            **({"again": place.given.again} if place.given is not None and place.given.again else {}),
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

        def end_lost(reason: str) -> None:
            end(Status.FAILED, None, reason, None)

        try:
            with heartbeat(ledger, attempt, HEARTBEAT_S), watched(place.life, end_lost):
                if place.given is not None:
                    check_sources(job, place.paths, place.given)
                metrics = _Work(job, place, ledger, attempt).run()
        except (Diverged, UnreachableTarget, NotFollowed, MacsDiffer) as error:
            end(Status.FAILED, time.time(), str(error), None)
            return Outcome(ok=False, reason=str(error), final=not isinstance(error, MachineTooBusy))
        except DamagedFiles as error:
            end(Status.FAILED, None, str(error), None)
            return Outcome(ok=False, reason=str(error), final=False, damaged=error.source)
        except DataChanged as error:
            end(Status.FAILED, None, str(error), None)
            return Outcome(ok=False, reason=str(error), final=False, ends_session=True)
        except BaseException as error:
            end(Status.FAILED, time.time(), typed_line(error), None)
            raise
        if has_later_attempt(place.paths.ledger, job.job, attempt):
            end(Status.FAILED, time.time(), "a later attempt at this job has begun", None)
            raise TakenOver("a later attempt at this job has begun")
        if (known := outcome_on_record(place.paths.ledger, job.job, place.since_t)) is not None:
            end(Status.FAILED, time.time(), "another attempt at this job was done first", None)
            return Outcome(ok=True, metrics=known)
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
        dataset = open_dataset(self.place.dataset)
        check_unchanged(dataset, None if self.place.given is None else self.place.given.data)
        splits = dataset.splits()
        if self.job.analysis is not None:
            self._begun(0)
            return scan(self.job, self._start(), splits, self._device)
        if self.job.score is not None:
            self._begun(0)
            return score(self.job, self._start(), splits, self._device)
        if self.job.phase in (Phase.EVALUATE, Phase.EXPORT):
            self._begun(0)
            cost = cost_so_far(self.place.paths.ledger, str(self.job.init_from))
            make = deliver if self.job.phase == Phase.EVALUATE else export
            return make(self.job, self.place.paths, splits, self.place.dataset, self._device, cost)
        if self.job.phase == Phase.PRUNE:
            return self._prune(splits)
        return self._train(splits)

    def _train(self, splits: Splits) -> dict[str, Any]:
        paths, job = self.place.paths, self.job
        recipe = Recipe.model_validate(job.recipe)
        model = self._start()
        masks = self._masks(model)
        apply_masks(model, masks)
        course = Course(stop_epoch=job.stop_epoch)
        if job.phase == Phase.SUPERNET:
            course = supernet_course(model)
        elif job.prune is not None:
            course = Course(masks=gradual_pruner(job.prune, job.seed, splits).masks)
            masks = masks_from_model(model)
        trained = train(
            model,
            splits,
            recipe,
            seed=job.seed,
            device=self._device,
            masks=masks,
            resume=paths.resume(job.job),
            hooks=Hooks(self._begun, self._epoch),
            course=course,
            identity=identity_of(job),
        )
        counted = {} if job.phase == Phase.SUPERNET else counts(trained.model, splits.info.image_shape)
        if job.phase == Phase.FINETUNE:
            limit = int(job.prune["target_macs"]) if job.prune is not None else job.network_macs
            if counted["macs"] > limit:
                raise MacsDiffer(f"the fine-tuned network has {counted['macs']:,} MACs and was pruned to {limit:,}")
        if job.phase != Phase.SEARCH:
            counted |= self._keep(trained.model, trained.masks)
        found = {"val_top1": trained.val_top1, "epochs": len(trained.val_curve), "val_curve": list(trained.val_curve)}
        if job.stop_epoch is not None:
            found["stopped_epoch"] = job.stop_epoch
        if job.phase == Phase.SUPERNET:
            # Only its largest member was measured, which says nothing of a network within a target.
            files = {name: counted[name] for name in ("weights_sha256", "masks_sha256")}
            return {"supernet_val_top1": found.pop("val_top1"), **found, **files}
        return {**counted, **found}

    def _prune(self, splits: Splits) -> dict[str, Any]:
        model = self._start()
        self._begun(0)
        pruned = prune(self.job.prune or {}, model, splits, self.job.seed)
        model = pruned.model.to(self._device, memory_format=torch.channels_last)
        recalibrate_batch_norm(model, splits.train, 128, self._device)
        val_top1 = evaluate(model, splits.val, self._device)
        counted = counts(model, splits.info.image_shape)
        check_macs(counted["macs"], pruned.macs)
        counted |= self._keep(model, pruned.masks)
        return {**counted, "val_top1": val_top1, "epochs": 0, **pruned.facts}

    def _start(self) -> nn.Module:
        """The network of the job with the weights that the attempt begins with, of the sizes that those have."""
        job, paths = self.job, self.place.paths
        model = build_network(with_regularisation(job.network, job.recipe))
        if job.checkpoint is not None:
            path = checkpoint_path(job.checkpoint)
            fit_checkpoint(model, load_checkpoint(path), path)
        if job.inherit is not None:
            supernet = build_network(job.inherit["supernet"])
            supernet.load_state_dict(load_tensors(paths.weights(str(job.init_from))))
            model.load_state_dict(supernet.extract(tuple(job.inherit["arch"])))
        elif job.init_from is not None:
            model = fit_to_state(model, load_tensors(paths.weights(job.init_from)))
        elif job.structure_from is not None and not paths.masks(job.structure_from).exists():
            model = fresh_like(model, load_tensors(paths.weights(job.structure_from)))
        return model

    def _masks(self, model: nn.Module) -> dict[str, Tensor]:
        """Masks to hold while training: those of the pruned network it goes on from, or whose structure it takes."""
        job, paths = self.job, self.place.paths
        source = job.structure_from or (job.init_from if job.phase == Phase.FINETUNE and job.prune is None else None)
        if source is None or not paths.masks(source).exists():
            return {}
        masks = from_tensors(load_tensors(paths.masks(source)))
        return shuffle_masks(masks, job.seed) if job.shuffle_masks else masks

    @property
    def _device(self) -> torch.device:
        return torch.device(self.place.held.torch_device)

    def _keep(self, model: nn.Module, masks: dict[str, Tensor]) -> dict[str, str | None]:
        paths = self.place.paths
        if masks:
            save_tensors(to_tensors(masks), paths.masks(self.job.job))
        else:
            paths.masks(self.job.job).unlink(missing_ok=True)
        save_tensors(model.state_dict(), paths.weights(self.job.job))
        return checksums(self.job.job, paths)

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
