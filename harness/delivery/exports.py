"""One export of a delivered network (another file format, int8, latency), added to its folder by a separate job."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from accounting.ledger.outcomes import JobOutcome
from accounting.study.folder import StudyFolder
from harness.config.study import DatasetConfig
from harness.data.base import Splits
from harness.delivery.about import KEYS, about, about_images, read_about
from harness.delivery.card import FILES, INT8_FILE, ONNX_FILE, PROGRAM_FILE, Origin, model_card
from harness.delivery.costs import NetworkCost
from harness.delivery.deliver import fitted, save_program, timing, without_download, write_about, write_text
from harness.delivery.int8 import int8_report
from harness.delivery.onnx_file import export_onnx, require_onnx
from harness.delivery.trainable import MODULE_FILE
from harness.jobs.job import Job
from harness.jobs.work import Export
from harness.models.build import load_tensors
from harness.paths import held
from pruning.dead import remove_dead_channels

log = logging.getLogger(__name__)

FILE_OF = {"onnx": "onnx", "int8": "int8", "compact": "program"}
"""The key in ``size_bytes`` of the file that an export writes; ``latency`` writes none."""

NUM_CHECK_IMAGES = 32
"""Number of validation images on which an exported network is compared with torch's."""


def export(
    job: Job,
    work: Export,
    paths: StudyFolder,
    splits: Splits,
    dataset: DatasetConfig,
    device: torch.device,
    cost: NetworkCost | None = None,
) -> JobOutcome:
    """Make one export of the network that the job starts from, and return its metrics.

    They are ``onnx_max_abs_error``, ``int8``, ``latency``, or ``dead_channels`` and ``dense_macs_without_dead``, with
    the file's ``size_bytes``; if it could not be made, ``left_out`` has the reason. In the delivered folder, the file,
    ``metrics.json`` and the card are each replaced as a whole, by one export at a time. An int8 network is a different
    network, so the splits are read once more for it.

    Raises:
        InputError: a package that the export needs is missing.

    """
    kind = work.kind
    if kind in ("onnx", "int8"):
        require_onnx(f"export.{kind}")
    job = dataclasses.replace(job, network=without_download(job.network))
    model, is_smaller = fitted(job.network, load_tensors(paths.weights(str(job.source))))
    folder = paths.model(int(job.target or 0), work.delivery.label, job.replicate)
    found = read_about(folder)
    is_current = (folder / MODULE_FILE).exists() and found.keys() >= set(KEYS)
    if not is_current:  # delivered by an older version
        found = about(job.network, splits.info, dataset)
    made = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    made.mkdir(parents=True)
    try:
        metrics = _made(kind, model, splits, device, made, is_smaller=is_smaller, about=about_images(found))
        with held(folder):
            delivered = _delivered(folder, job)
            if delivered is None:
                reason = "the delivered folder is gone or holds another network"
                log.warning("%s: %s", job.name, reason)
                return {"export": kind, **metrics, "left_out": {kind: reason}, "size_bytes": {}}
            metrics["size_bytes"] = _moved(kind, made, folder)
            merged = _merged(delivered, metrics)
            if not is_current:
                write_about(found, splits.info.task, folder)
            origin = Origin(paths.root.name, dataset, device.type, found["data"]["fingerprint"], cost)
            write_text(json.dumps(merged, indent=1) + "\n", folder / "metrics.json")
            write_text(model_card(job, merged, splits, origin, is_smaller=is_smaller), folder / "README.md")
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return {"export": kind, **metrics}


def _made(
    kind: str,
    model: nn.Module,
    splits: Splits,
    device: torch.device,
    folder: Path,
    *,
    is_smaller: bool,
    about: Mapping[str, str],
) -> JobOutcome:
    """Make the export's file in ``folder`` and return its metrics; if there is no file, ``left_out`` has the reason."""
    try:
        match kind:
            case "onnx":
                images, _ = next(iter(splits.val.batches(NUM_CHECK_IMAGES, torch.device("cpu"), augment=None)))
                head = splits.info.task.words.head
                found: JobOutcome = {"onnx_max_abs_error": export_onnx(model, images, folder / ONNX_FILE, about, head)}
            case "int8":
                found = {"int8": int8_report(model, splits, folder / INT8_FILE, about)}
            case "latency":
                on_device = model.to(device).to(memory_format=torch.channels_last)
                found = {"latency": timing(on_device, splits, device, "channels_last")}
            case "compact":
                found = {} if is_smaller else _without_dead(model, splits.info.image_shape, folder / PROGRAM_FILE)
            case _:
                raise ValueError(f"there is no export {kind}")
    except ValueError as error:
        name = FILE_OF.get(kind, kind)
        log.warning("delivered without its file %s: %s", name, error)
        return {"left_out": {name: str(error)}}
    return {**found, "left_out": {}}


def _without_dead(model: nn.Module, image_shape: tuple[int, int, int], path: Path) -> JobOutcome:
    """Write the same network without the channels that its zeros have made dead, if there are any."""
    smaller = remove_dead_channels(model, image_shape)
    if smaller.removed:
        save_program(smaller.model, image_shape, path)
    return {"dead_channels": sum(smaller.removed.values()), "dense_macs_without_dead": smaller.dense_macs}


def _delivered(folder: Path, job: Job) -> JobOutcome | None:
    """The metrics of the delivered folder; None if it is gone or holds another network."""
    try:
        metrics: JobOutcome = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return metrics if isinstance(metrics, dict) and metrics.get("from_job") == job.source else None


def _moved(kind: str, made: Path, folder: Path) -> dict[str, int | None]:
    """Move the export's file into the delivered folder and return its size in bytes by key (None: there is no file)."""
    key = FILE_OF.get(kind)
    if key is None:
        return {}
    source = made / FILES[key]
    if not source.exists():
        return {} if (folder / FILES[key]).exists() else {key: None}
    source.replace(folder / FILES[key])
    return {key: (folder / FILES[key]).stat().st_size}


def _merged(delivered: JobOutcome, metrics: JobOutcome) -> JobOutcome:
    """The folder's metrics with the export's added; sizes and reasons are merged by file."""
    return {
        **delivered,
        **metrics,
        "left_out": {**(delivered.get("left_out") or {}), **metrics["left_out"]},
        "size_bytes": {**(delivered.get("size_bytes") or {}), **metrics["size_bytes"]},
    }
