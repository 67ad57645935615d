"""What the user takes away: a folder with weights, architecture and a card, that loads without this package."""

from __future__ import annotations

import json
import shutil
import uuid
from typing import Any

import torch

from accounting.macs import count_macs
from harness.config import DatasetConfig
from harness.data.base import Splits
from harness.jobs import Job
from harness.models import build_network, load_tensors, save_tensors
from harness.paths import StudyPaths
from harness.training import EVAL_BATCH_SIZE, evaluate

_LOAD_TIMM = """\
import json, timm
from safetensors.torch import load_file
spec = json.load(open("architecture.json"))["network"]
model = timm.create_model(spec["name"], **spec["kwargs"]).eval()
model.load_state_dict(load_file("model.safetensors"))
"""

_LOAD_MOBILENETV3 = """\
import json, timm, timm.models._efficientnet_builder as b; from functools import partial
from safetensors.torch import load_file; spec = json.load(open("architecture.json"))["network"]
se, act = partial(b.SqueezeExcite, gate_layer="hard_sigmoid", rd_round_fn=%(fit8)s), timm.layers.get_act_layer("%(act)s")
model = timm.models.MobileNetV3(b.decode_arch_def(spec["arch_def"]), act_layer=act, se_layer=se, se_from_exp=False, round_chs_fn=%(fit)s, **{k: spec[k] for k in %(keys)s}).eval()
%(padding)smodel.load_state_dict(load_file("model.safetensors"))
"""

_PADDING = """\
for place, padding in spec["dw_padding"].items(): model.get_submodule(f"blocks.{place}.conv_dw").padding = (padding, padding)
"""

_CARD = """\
# {description}

| | |
|---|---|
| test_top1 | {test_top1:.4f} (n = {num_test} images) |
| val_top1 | {val_top1:.4f} (n = {num_val} images; the network was selected on them) |
| MACs of one image, zeros left out | {macs:,} (target {target:,}) |
| MACs if zeros are multiplied too | {dense_macs:,} |
| weights and biases, non-zero | {nonzero_params:,} of {params:,} |
| dataset | {dataset} |
| study, route, replicate | {study}, {route}, {replicate} |
| trained in job | {from_job} |

The weights are in `model.safetensors`; pruned weights are exact zeros in it. What the network's making cost stands in the
study's report and ledger.

Load it (torch, timm and safetensors; this package is not needed):

```python
{load}```

Images: float in 0-1, then (x - mean) / std with mean {mean} and std {std}; shape {shape}. test_top1 was read in batches of
{batch} images, in the test split's order, channels-last, on {device}.
"""


def deliver(
    job: Job, paths: StudyPaths, splits: Splits, dataset: DatasetConfig, device: torch.device
) -> dict[str, Any]:
    """Read the test split once with the network of ``job.init_from`` and write its folder; the outcome's metrics."""
    facts = dict(job.deliver or {})
    weights = load_tensors(paths.weights(str(job.init_from)))
    model = build_network(job.network)
    model.load_state_dict(weights)
    report = count_macs(model, splits.info.image_shape)
    if job.target is not None and report.sparse_macs > job.target:
        raise ValueError(f"{job.init_from} has {report.sparse_macs:,} MACs, above its target of {job.target:,}")
    model = model.to(device, memory_format=torch.channels_last)
    folder = paths.model(int(job.target or 0), facts["label"], job.replicate)
    metrics = {
        **facts,
        "val_top1": evaluate(model, splits.val, device),
        "test_top1": evaluate(model, splits.test, device),
        "macs": report.sparse_macs,
        "dense_macs": report.macs,
        "params": report.params,
        "nonzero_params": report.nonzero,
        "model_dir": str(folder.relative_to(paths.root)),
        "from_job": job.init_from,
    }
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir(parents=True)
    try:
        save_tensors(weights, temporary / "model.safetensors")
        info = {
            "network": job.network,
            "image_shape": splits.info.image_shape,
            "mean": splits.info.mean,
            "std": splits.info.std,
            "eval_batch_size": EVAL_BATCH_SIZE,
        }
        (temporary / "architecture.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")
        (temporary / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        card = _card(job, metrics, splits, dataset, device, paths.root.name)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return metrics


def _card(
    job: Job, metrics: dict[str, Any], splits: Splits, dataset: DatasetConfig, device: torch.device, study: str
) -> str:
    spec = job.network
    load = _LOAD_TIMM if spec["builder"] == "timm" else _load_mobilenetv3(spec)
    return _CARD.format(
        **{
            k: metrics[k]
            for k in ("description", "test_top1", "val_top1", "macs", "dense_macs", "params", "nonzero_params")
        },
        num_test=len(splits.test),
        num_val=len(splits.val),
        target=job.target,
        dataset=dataset.name,
        study=study,
        route=job.route,
        replicate=job.replicate,
        from_job=job.init_from,
        load=load,
        mean=splits.info.mean,
        std=splits.info.std,
        shape=splits.info.image_shape,
        batch=EVAL_BATCH_SIZE,
        device=device.type,
    )


def _load_mobilenetv3(spec: dict[str, Any]) -> str:
    """Five lines that build what ``nas_baseline.networks.build`` builds from this spec; six with reduced padding."""
    divisor = spec.get("width_divisor", 8)
    return _LOAD_MOBILENETV3 % {
        "fit8": "partial(b.round_channels, round_limit=0.95)",
        "fit": f"partial(b.round_channels, divisor={divisor}, round_limit=0.95)",
        "act": spec.get("act", "hard_swish"),
        "keys": ("stem_size", "num_features", "head_bias", "in_chans", "num_classes"),
        "padding": _PADDING if spec.get("dw_padding") else "",
    }
