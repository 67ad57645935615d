"""What the user takes away: a folder with weights, architecture and a card, that loads without this package."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import shutil
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accounting.macs import count_macs
from harness.config import NO_EXPORT, DatasetConfig, ExportConfig
from harness.data.base import Splits
from harness.errors import one_line
from harness.export_onnx import export_onnx, require_onnx
from harness.jobs import Job
from harness.latency_target import RUNTIME
from harness.model_card import INT8_FILE, ONNX_FILE, PROGRAM_FILE, SPARSE_FILE, Origin, model_card
from harness.models import build_network, load_tensors, save_tensors
from harness.paths import StudyPaths, replacing
from harness.quantise import int8_report
from harness.training import EVAL_BATCH_SIZE, evaluate
from pruning.dead import remove_dead_channels
from pruning.masks import masks_from_model
from pruning.resize import fit_to_state
from pruning.sparse_file import save_sparse

log = logging.getLogger(__name__)

WEIGHTS_FILE = "model.safetensors"

NUM_CHECK_IMAGES = 32
"""Validation images on which an exported network is compared with torch's."""


def deliver(
    job: Job,
    paths: StudyPaths,
    splits: Splits,
    dataset: DatasetConfig,
    device: torch.device,
    export: ExportConfig = NO_EXPORT,
    cost: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Read the test split once with the network of ``job.init_from`` and write its folder; the outcome's metrics.

    The folder has ``model.safetensors``, ``architecture.json``, ``metrics.json`` and the card ``README.md``;
    ``model.sparse.safetensors`` where the network has zeros and is smaller without them; ``model.pt2`` where the weights'
    shapes are not those that the spec builds (channels or blocks were removed); and what ``export`` asks for. The int8
    network, where it is asked for, is another network, with which the splits are read once more. The folder appears when
    it is whole. ``cost`` (``unit``, ``own_h``, ``parent_h``) is for the card. A file that cannot be made
    is left out, ``left_out`` has the reason by its kind, and the rest is delivered.

    Raises:
        InputError: a package is missing that ``export`` needs; nothing was read.
        ValueError: the network is above its target.

    """
    if export.onnx:
        require_onnx()
    facts = dict(job.deliver or {})
    job = dataclasses.replace(job, network=_without_download(job.network))
    weights = load_tensors(paths.weights(str(job.init_from)))
    model, is_smaller = _fitted(job.network, weights)
    report = count_macs(model, splits.info.image_shape)
    if job.target is not None and report.sparse_macs > job.target:
        raise ValueError(f"{job.init_from} has {report.sparse_macs:,} MACs, above its target of {job.target:,}")
    on_device = copy.deepcopy(model).to(device, memory_format=torch.channels_last)
    folder = paths.model(int(job.target or 0), facts["label"], job.replicate)
    metrics = {
        **facts,
        "val_top1": evaluate(on_device, splits.val, device),
        "test_top1": evaluate(on_device, splits.test, device),
        "macs": report.sparse_macs,
        "dense_macs": report.macs,
        "params": report.params,
        "nonzero_params": report.nonzero,
        "sparsity": _sparsity(model),
        "model_dir": str(folder.relative_to(paths.root)),
        "from_job": job.init_from,
    }
    target_ms = facts.get("target_latency_ms")
    if export.latency or target_ms is not None:
        runtime = "channels_last" if target_ms is None else RUNTIME
        metrics["latency"] = _latency(on_device, splits, device, runtime)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir(parents=True)
    try:
        _save_weights(weights, temporary, is_sparse=metrics["sparsity"] > 0)
        metrics |= _exports(model, splits, export, temporary, is_smaller=is_smaller)
        info = {
            "network": job.network,
            "image_shape": splits.info.image_shape,
            "mean": splits.info.mean,
            "std": splits.info.std,
            "eval_batch_size": EVAL_BATCH_SIZE,
        }
        origin = Origin(paths.root.name, dataset.name, device.type, cost)
        _write_text(json.dumps(info, indent=1) + "\n", temporary / "architecture.json")
        _write_text(json.dumps(metrics, indent=1) + "\n", temporary / "metrics.json")
        _write_text(model_card(job, metrics, splits, origin, is_smaller=is_smaller), temporary / "README.md")
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return metrics


def save_program(model: nn.Module, image_shape: tuple[int, ...], path: Path) -> None:
    """Write a network (on the CPU, in eval mode) whole, as ``torch.export`` stores it, for any batch size.

    The source lines that torch notes for debugging are left out: they name files of this machine.

    Raises:
        ValueError: torch cannot export it.

    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            batch = torch.export.Dim("batch")
            program = torch.export.export(model, (torch.zeros(2, *image_shape),), dynamic_shapes=({0: batch},))
        except Exception as error:  # the exporter runs the network's own code, on which anything may fail
            raise ValueError(f"torch.export cannot export the smaller network: {one_line(error, 200)}") from error
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _fitted(spec: dict[str, Any], weights: Mapping[str, Tensor]) -> tuple[nn.Module, bool]:
    """The network with its weights in eval mode, and whether it is physically smaller than its spec says."""
    model = build_network(spec)
    dense = {name: tensor.shape for name, tensor in model.state_dict().items()}
    is_smaller = dense != {name: tensor.shape for name, tensor in weights.items()}
    return fit_to_state(model, weights).eval(), is_smaller


def _without_download(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec without published weights: the network's own are loaded over them anyway."""
    plain = {key: value for key, value in spec.items() if key != "pretrained"}
    if "kwargs" in plain:
        plain["kwargs"] = {key: value for key, value in plain["kwargs"].items() if key != "pretrained"}
    return plain


def _sparsity(model: nn.Module) -> float:
    """Share 0-1 of the weights of all convolution and linear layers that are zero."""
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


def _exports(
    model: nn.Module, splits: Splits, export: ExportConfig, folder: Path, *, is_smaller: bool
) -> dict[str, Any]:
    """Write what is asked for; the metrics of it, and the size in bytes of every file of weights (None: no such file)."""
    metrics: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    if is_smaller:
        try:
            save_program(model, splits.info.image_shape, folder / PROGRAM_FILE)
        except ValueError as error:
            left_out["program"] = str(error)
    elif export.compact:
        try:
            metrics |= _save_without_dead(model, splits.info.image_shape, folder / PROGRAM_FILE)
        except ValueError as error:
            left_out["program"] = str(error)
    if export.onnx:
        images, _ = next(iter(splits.val.batches(NUM_CHECK_IMAGES, torch.device("cpu"), augment=None)))
        try:
            metrics["onnx_max_abs_error"] = export_onnx(model, images, folder / ONNX_FILE)
        except ValueError as error:
            left_out["onnx"] = str(error)
    for kind, reason in left_out.items():
        log.warning("delivered without its file %s: %s", kind, reason)
    metrics["left_out"] = left_out
    if export.int8:
        metrics["int8"] = int8_report(model, splits, folder / INT8_FILE)
    files = {
        "float": WEIGHTS_FILE, "sparse": SPARSE_FILE, "int8": INT8_FILE, "onnx": ONNX_FILE, "program": PROGRAM_FILE,
    }  # fmt: skip
    metrics["size_bytes"] = {
        name: (folder / file).stat().st_size if (folder / file).exists() else None for name, file in files.items()
    }
    return metrics


def _save_without_dead(model: nn.Module, image_shape: tuple[int, int, int], path: Path) -> dict[str, Any]:
    """Write the same network without the channels that its zeros have made dead, where there are any."""
    smaller = remove_dead_channels(model, image_shape)
    if smaller.removed:
        save_program(smaller.model, image_shape, path)
    return {"dead_channels": sum(smaller.removed.values()), "dense_macs_without_dead": smaller.dense_macs}


def _latency(model: nn.Module, splits: Splits, device: torch.device, runtime: str) -> dict[str, Any] | None:
    """Milliseconds of one image on ``device``; None where this machine cannot time it."""
    from harness.latency.errors import NotAvailable
    from harness.latency.networks import time_network

    try:
        threads = torch.get_num_threads()
        timing = time_network(model, splits.info.image_shape, device=device, threads=threads, runtime=runtime)
    except NotAvailable:
        return None
    return dataclasses.asdict(timing)


def _write_text(text: str, path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
