"""What the user takes away: a folder with weights, architecture and a model card, which loads without this package."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import shutil
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from accounting.ledger.outcomes import JobOutcome, TimingRecord
from accounting.ledger.specs import NetworkSpec
from accounting.macs.count import MacsReport, count_macs
from accounting.study.folder import StudyFolder
from accounting.words.quantities import macs_text
from harness.config.study import DatasetConfig
from harness.data.base import Splits
from harness.delivery.about import ARCHITECTURE_FILE, About, about
from harness.delivery.card import FILES, PROGRAM_FILE, SPARSE_FILE, WEIGHTS_FILE, Origin, model_card
from harness.delivery.costs import NetworkCost
from harness.delivery.trainable import MODULE_FILE, module_text
from harness.errors import one_line
from harness.jobs.job import Job
from harness.jobs.work import Deliver
from harness.latency.target import RUNTIME
from harness.models.build import build_network, load_tensors, save_tensors, without_pretrained
from harness.paths import held, replacing
from harness.task.base import Task
from harness.training.loop import evaluate
from pruning.masks import masks_from_model
from pruning.resize import fit_to_state
from pruning.sparse_file import save_sparse

log = logging.getLogger(__name__)


def deliver(
    job: Job,
    work: Deliver,
    paths: StudyFolder,
    splits: Splits,
    dataset: DatasetConfig,
    device: torch.device,
    cost: NetworkCost | None = None,
) -> JobOutcome:
    """Evaluate the network that the job starts from, write its folder, and return the outcome's metrics.

    The test split is read once. The folder has ``model.safetensors``, ``architecture.json``, ``model.py``,
    ``metrics.json`` and the card ``README.md``. It has ``model.sparse.safetensors`` if the network has zeros and that
    file is smaller, and ``model.pt2`` if the weights have other shapes than the spec builds (channels or blocks were
    removed). If torch cannot export that program, the rest is delivered and ``left_out`` has the reason.

    The folder appears only when it is complete. Other exports of the study are added by their own jobs
    (:mod:`harness.delivery.exports`). ``cost`` (``unit``, ``own_h``, ``parent_h``) is for the card.

    Raises:
        ValueError: the network is above its target.

    """
    trained = str(job.source)
    job = dataclasses.replace(job, network=without_download(job.network))
    weights = load_tensors(paths.weights(trained))
    model, is_smaller = fitted(job.network, weights)
    report = count_macs(model, splits.info.image_shape)
    if job.target is not None and report.sparse_macs > job.target:
        raise ValueError(
            f"{trained} has {macs_text(report.sparse_macs)} MACs, above its target of {macs_text(job.target)}"
        )
    on_device = copy.deepcopy(model).to(device).to(memory_format=torch.channels_last)
    folder = paths.model(int(job.target or 0), work.label, job.replicate)
    metrics: JobOutcome = {
        "label": work.label,
        "description": work.description,
        "parent": work.parent,
        "target_latency_ms": work.target_latency_ms,
        **_scores(on_device, splits, device),
        **_counts(model, report),
        "model_dir": str(folder.relative_to(paths.root)),
        "from_job": trained,
    }
    if splits.info.decoded_px is not None:
        metrics["image_size"] = splits.info.image_shape[1]
    if work.target_latency_ms is not None:
        metrics["latency"] = timing(on_device, splits, device, RUNTIME)
    with _whole(folder) as temporary:
        _save_weights(weights, temporary, is_sparse=metrics["sparsity"] > 0)
        metrics["left_out"] = _program(model, splits, temporary) if is_smaller else {}
        metrics["size_bytes"] = sizes(temporary)
        found = about(job.network, splits.info, dataset)
        origin = Origin(paths.root.name, dataset, device.type, found["data"]["fingerprint"], cost)
        write_about(found, splits.info.task, temporary)
        write_text(json.dumps(metrics, indent=1) + "\n", temporary / "metrics.json")
        write_text(model_card(job, metrics, splits, origin, is_smaller=is_smaller), temporary / "README.md")
    return metrics


def _scores(model: nn.Module, splits: Splits, device: torch.device) -> JobOutcome:
    """The network's quality on validation, and on test, which is read here alone."""
    return {
        "val_top1": evaluate(model, splits.val, splits.info.task, device),
        "test_top1": evaluate(model, splits.test, splits.info.task, device),
        "num_val_scored": len(splits.val),
        "num_test_scored": len(splits.test),
    }


def _counts(model: nn.Module, report: MacsReport) -> JobOutcome:
    return {
        "macs": report.sparse_macs,
        "dense_macs": report.macs,
        "params": report.params,
        "nonzero_params": report.nonzero,
        "sparsity": _sparsity(model),
    }


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``folder`` if the block succeeds, and disappears if it fails."""
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        with held(folder):
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_program(model: nn.Module, image_shape: tuple[int, ...], path: Path) -> None:
    """Write a network (on the CPU, in eval mode) as a program of ``torch.export``, for any batch size.

    The source lines that torch records for debugging are left out, since they name files of this machine.

    Raises:
        ValueError: torch cannot export it.

    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            batch = torch.export.Dim("batch")
            program = torch.export.export(model, (torch.zeros(2, *image_shape),), dynamic_shapes=({0: batch},))
        except Exception as error:  # the exporter runs the network's own code, which may fail in any way
            raise ValueError(f"torch.export cannot export the smaller network: {one_line(error, 200)}") from error
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def fitted(spec: NetworkSpec, weights: Mapping[str, Tensor]) -> tuple[nn.Module, bool]:
    """The network with its weights, in eval mode, and whether it is physically smaller than its spec says."""
    model = build_network(spec)
    dense = {name: tensor.shape for name, tensor in model.state_dict().items()}
    is_smaller = dense != {name: tensor.shape for name, tensor in weights.items()}
    return fit_to_state(model, weights).eval(), is_smaller


def without_download(spec: NetworkSpec) -> NetworkSpec:
    """The spec without published weights, which the network's own weights would replace anyway."""
    plain = without_pretrained(spec)
    if "kwargs" in plain:
        plain["kwargs"] = {key: value for key, value in plain["kwargs"].items() if key != "pretrained"}
    return plain


def _sparsity(model: nn.Module) -> float:
    """The share (0-1) of zeros among the weights of all convolution and linear layers."""
    kept = list(masks_from_model(model).values())
    return 1 - sum(int(mask.sum()) for mask in kept) / max(1, sum(mask.numel() for mask in kept))


def _save_weights(weights: dict[str, Tensor], folder: Path, *, is_sparse: bool) -> None:
    save_tensors(weights, folder / WEIGHTS_FILE)
    if is_sparse:
        compact = folder / SPARSE_FILE
        with replacing(compact) as temporary:
            save_sparse(weights, temporary)
        if compact.stat().st_size >= (folder / WEIGHTS_FILE).stat().st_size:
            compact.unlink()


def _program(model: nn.Module, splits: Splits, folder: Path) -> dict[str, str]:
    """Write the smaller network as a program; if torch cannot export it, return the reason under ``program``."""
    try:
        save_program(model, splits.info.image_shape, folder / PROGRAM_FILE)
    except ValueError as error:
        log.warning("delivered without its file program: %s", error)
        return {"program": str(error)}
    return {}


def sizes(folder: Path) -> dict[str, int | None]:
    """The size in bytes of every weight file; None if there is no such file."""
    return {name: (folder / file).stat().st_size if (folder / file).exists() else None for name, file in FILES.items()}


def timing(model: nn.Module, splits: Splits, device: torch.device, runtime: str) -> TimingRecord | None:
    """The milliseconds that one image takes on ``device``; None if this machine cannot time it."""
    from harness.latency.errors import NotAvailable
    from harness.latency.networks import time_network

    try:
        threads = torch.get_num_threads()
        timed = time_network(model, splits.info.image_shape, device=device, threads=threads, runtime=runtime)
    except NotAvailable:
        return None
    return {
        "median_ms": timed.median_ms,
        "p10_ms": timed.p10_ms,
        "p90_ms": timed.p90_ms,
        "n": timed.n,
        "batch_size": timed.batch_size,
        "threads": timed.threads,
        "device": timed.device,
        "runtime": timed.runtime,
    }


def write_about(found: About, task: Task, folder: Path) -> None:
    """Write ``architecture.json`` and the ``model.py`` that reads it."""
    write_text(json.dumps(found, indent=1) + "\n", folder / ARCHITECTURE_FILE)
    write_text(module_text(task), folder / MODULE_FILE)


def write_text(text: str, path: Path) -> None:
    """Write a text file completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
