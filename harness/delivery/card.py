"""The model card of a delivered network: what it is, what it cost, and the code that loads each of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accounting.ledger.outcomes import Int8Record, JobOutcome, TimingRecord
from accounting.ledger.specs import NetworkSpec
from accounting.words.names import unit_text
from accounting.words.plain_text import plain
from harness.config.study import DatasetConfig
from harness.data.base import DataInfo, Splits
from harness.delivery.costs import NetworkCost
from harness.delivery.trainable import MODULE_FILE, in_words_of
from harness.jobs.job import Job
from harness.task.base import Task
from harness.training.loop import EVAL_BATCH_SIZE

WEIGHTS_FILE, SPARSE_FILE, PROGRAM_FILE = "model.safetensors", "model.sparse.safetensors", "model.pt2"
ONNX_FILE, INT8_FILE = "model.onnx", "model.int8.onnx"
TORCH_INT8_FILE = "model.int8.pt"
"""What older versions delivered as int8: TorchScript, run by one of torch's engines."""

FILES = {
    "float": WEIGHTS_FILE, "sparse": SPARSE_FILE, "int8": INT8_FILE, "onnx": ONNX_FILE, "program": PROGRAM_FILE,
}  # fmt: skip
"""The weight files of a delivered folder, by their key in ``size_bytes``."""

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
"""  # noqa: E501

_PADDING = """\
for place, padding in spec["dw_padding"].items(): model.get_submodule(f"blocks.{place}.conv_dw").padding = (padding, padding)
"""

_LOAD_PROGRAM = f"""\
import torch
model = torch.export.load("{PROGRAM_FILE}").module()
"""

_LOAD_MODULE = """\
from model import {NAMES}, build, preprocess
model = build()
"""

_LOAD_SPARSE = f"""\
import json, math, numpy, torch
from safetensors import safe_open
with safe_open("{SPARSE_FILE}", "pt") as file:
    shapes, stored = json.loads(file.metadata()["sparse_shapes"]), {{name: file.get_tensor(name) for name in file.keys()}}
state = {{name: value for name, value in stored.items() if not name.endswith(".nonzero")}}
for name, shape in shapes.items():
    bits = numpy.unpackbits(stored[name + ".nonzero"].numpy(), count=math.prod(shape))
    empty, places = torch.zeros(shape, dtype=state[name].dtype), torch.from_numpy(bits).bool().view(shape)
    state[name] = empty.masked_scatter(places, state[name])
"""

_LOAD_TORCH_INT8 = f"""\
import torch
torch.backends.quantized.engine = "%s"
model = torch.jit.load("{TORCH_INT8_FILE}")
"""

_LOAD_ONNX = """\
import onnxruntime
session = onnxruntime.InferenceSession("%s", providers=["CPUExecutionProvider"])
{head} = session.run(None, {"images": images.numpy()})[0]
"""

_SAME_SHAPES = "The weights are in `model.safetensors`; pruned weights are exact zeros in it."
_SMALLER = """\
The network is physically smaller than the one that `architecture.json` names; its weights have its shapes.
`model.py` builds it, to use or to train on, with the transform of its images and the names of its {outputs}."""

_CARD = """\
# {description}

| | |
|---|---|
{rows}

{files}

Load it ({needs}):

```python
{load}```

test_top1 was read in batches of {batch} images, in the test split's order, channels-last, on {device}.
{sections}
## Images and data

| | |
|---|---|
{images}

## {outputs}

{names}
"""


@dataclass(frozen=True)
class Origin:
    """Where a network comes from.

    ``fingerprint`` is that of the data. ``cost`` has ``own_h`` and ``parent_h`` in ``unit``; None if not known.
    """

    study: str
    dataset: DatasetConfig
    device: str
    fingerprint: str
    cost: NetworkCost | None = None


def model_card(job: Job, metrics: JobOutcome, splits: Splits, origin: Origin, *, is_smaller: bool) -> str:
    """The README of a delivered network, as Markdown.

    ``is_smaller`` means that its tensors have other shapes than those of the network that ``job.network`` builds.
    """
    size, task = metrics["size_bytes"], splits.info.task
    return _CARD.format(
        description=_markdown(str(metrics["description"])),
        rows=_table(_rows(job, metrics, splits, origin)),
        files=in_words_of(task, _SMALLER) if is_smaller else _SAME_SHAPES,
        needs="torch, timm and safetensors; this package is not needed",
        load=in_words_of(task, _LOAD_MODULE) if is_smaller else _load(job.network),
        batch=EVAL_BATCH_SIZE,
        device=origin.device,
        sections="".join(
            in_words_of(task, f"\n## `{file}`\n\n{text}\n\n```python\n{code}```\n")
            for key, file, text, code in _sections(metrics, is_smaller=is_smaller)
            if (not is_smaller if key == "module" else size[key] is not None)
        ),
        images=_table(_images(splits.info, origin)),
        outputs=task.words.outputs.capitalize(),
        names=_outputs(task),
    )


def _markdown(text: str) -> str:
    """Text escaped so that Markdown shows it unchanged, even in a table cell: one line, without HTML or a new cell."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"| {_markdown(name)} | {_markdown(value)} |" for name, value in rows)


def _images(info: DataInfo, origin: Origin) -> list[tuple[str, str]]:
    """How the network's images are prepared, and the data that it was trained on."""
    height, width = info.decoded_px or info.image_shape[1:]
    resized, cut = {
        "none": ("none: all images have this size", "none"),
        "stretch": (f"both sides, to {height} x {width}", "none"),
        "shorter_side": (
            f"shorter side to {info.resize_px}",
            f"centre, {height} x {width} (crop_pct {info.crop_pct:g})",
        ),
    }[info.resize]
    path = [] if origin.dataset.path is None else [("path", origin.dataset.path)]
    return [
        ("shape (channels, height, width)", str(info.image_shape)),
        ("resize", resized),
        ("interpolation", "none" if info.resize == "none" else info.interpolation),
        ("crop", cut),
        *_own_size(info),
        ("values", "float in 0-1, then (x - mean) / std"),
        ("mean", ", ".join(f"{value:g}" for value in info.mean)),
        ("std", ", ".join(f"{value:g}" for value in info.std)),
        ("data", origin.dataset.name),
        *path,
        ("fingerprint", origin.fingerprint),
    ]


def _own_size(info: DataInfo) -> list[tuple[str, str]]:
    if info.decoded_px is None:
        return []
    height, width = info.image_shape[1:]
    mode = "bilinear" if info.interpolation == "bilinear" else "bicubic"
    return [("then", f"both sides, to {height} x {width}, the network's own size ({mode}, antialiased)")]


def _outputs(task: Task) -> str:
    if not task.output_names:
        return task.unnamed_text
    rows = _table([(str(i), name) for i, name in enumerate(task.output_names)])
    return f"| output | {task.words.output} |\n|---|---|\n{rows}"


def _rows(job: Job, metrics: JobOutcome, splits: Splits, origin: Origin) -> list[tuple[str, str]]:
    size, int8 = metrics["size_bytes"], metrics.get("int8")
    target = f"target {job.target:,}" if job.target is not None else "no target"
    rows = [
        ("test_top1", f"{metrics['test_top1']:.4f} (n = {len(splits.test)} images)"),
        (
            "val_top1",
            f"{metrics['val_top1']:.4f} (n = {len(splits.val)} images; the network was selected on them)",
        ),
        ("MACs of one image, zeros left out", f"{metrics['macs']:,} ({target})"),
        ("MACs if zeros are multiplied too", f"{metrics['dense_macs']:,}"),
        ("weights and biases, non-zero", f"{metrics['nonzero_params']:,} of {metrics['params']:,}"),
        ("sparsity: zeros among the weights of convolution and linear layers", f"{metrics['sparsity']:.4f}"),
        ("size", f"{size['float']:,} bytes"),
    ]
    if size["sparse"] is not None:
        rows.append(("size of the sparse file", f"{size['sparse']:,} bytes"))
    if size["onnx"] is not None:
        error = metrics["onnx_max_abs_error"]
        rows.append(("size as ONNX", f"{size['onnx']:,} bytes; outputs differ from torch's by at most {error:.2g}"))
    if int8 is not None:
        rows += _int8_rows(int8, splits)
    if (timing := metrics.get("latency")) is not None:
        rows.append(("latency", _latency(timing)))
    if metrics.get("target_latency_ms") is not None:
        rows.append(("latency asked for", f"at most {metrics['target_latency_ms']:g} ms, met by the parent's shape"))
    if metrics.get("dead_channels") is not None:
        rows.append(("channels that its zeros made dead", _dead(metrics)))
    rows += [(f"no file {kind}", reason) for kind, reason in (metrics.get("left_out") or {}).items()]
    rows += [
        ("dataset", origin.dataset.name),
        ("study, route, replicate", f"{origin.study}, {job.route}, {job.replicate}"),
        ("trained in job", str(job.source)),
    ]
    if metrics.get("parent") is not None:
        rows.append(("parent", str(metrics["parent"])))
    rows.append(("cost", _cost(origin.cost)))
    return rows


def _int8_rows(int8: Int8Record, splits: Splits) -> list[tuple[str, str]]:
    if int8["test_top1"] is None:
        return [("int8", f"none: {int8['reason']}")]
    return [
        ("test_top1 of the int8 network", f"{int8['test_top1']:.4f} (n = {len(splits.test)} images, on the CPU)"),
        ("val_top1 of the int8 network", f"{int8['val_top1']:.4f} (n = {len(splits.val)} images, on the CPU)"),
        ("size as int8", f"{int8['size_bytes']:,} bytes"),
    ]


def _latency(timing: TimingRecord) -> str:
    spread = f"10 % to 90 %: {timing['p10_ms']:.3g} to {timing['p90_ms']:.3g} ms, n = {timing['n']}"
    where = f"{timing['device']}, {timing['threads']} threads, {timing['runtime']}"
    return f"{timing['median_ms']:.3g} ms for a batch of {timing['batch_size']} ({spread}; {where})"


def _cost(cost: NetworkCost | None) -> str:
    if cost is None:
        return "see the report"
    unit = unit_text(cost["unit"])
    text = f"{cost['own_h']:.4g} {unit} for the jobs that led to it"
    return f"{text}, and {cost['parent_h']:.4g} for its parent" if cost.get("parent_h") else text


def _dead(metrics: JobOutcome) -> str:
    if not metrics["dead_channels"]:
        return "none"
    return f"{metrics['dead_channels']:,}; without them {metrics['dense_macs_without_dead']:,} MACs, zeros multiplied"


def _sections(metrics: JobOutcome, *, is_smaller: bool) -> list[tuple[str, str, str, str]]:
    """For each file: its key in ``size_bytes`` (or ``module``), its name, what it is, and the code that loads it."""
    program = (
        "The same network, whole, for inference at any batch size. Needs only torch:"
        if is_smaller
        else "The same network without the channels that its zeros have made dead, whole, for inference at any batch size;\n"
        "outputs agree to rounding. Needs only torch:"
    )
    return [
        (
            "module",
            MODULE_FILE,
            "The same network, with the transform of its images and the names of its {outputs}. When it is trained on, its\n"
            "zeros stay zero only if they are set to zero again after each step. Needs torch, timm and safetensors:",
            _LOAD_MODULE,
        ),
        ("program", PROGRAM_FILE, program, _LOAD_PROGRAM),
        (
            "sparse",
            SPARSE_FILE,
            "The same state dict without its zeros: of a tensor NAME its non-zero values in order, and in NAME.nonzero a\n"
            "bit per element, the first in the highest. Shapes are in the metadata. Needs torch, numpy and safetensors:",
            _LOAD_SPARSE,
        ),
        (
            "onnx",
            ONNX_FILE,
            "One input `images` and one output `{head}`, any batch size (`images` is a float tensor, made as above):",
            _LOAD_ONNX % ONNX_FILE,
        ),
        _int8_section(metrics.get("int8") or {}),
    ]


def _int8_section(int8: Int8Record) -> tuple[str, str, str, str]:
    if int8.get("engine") in (None, "onnxruntime"):
        text = (
            f"For int8 kernels of the CPU ({int8.get('method')}).\n"
            "It takes the same float images, in batches of any size. Needs onnxruntime:"
        )
        return "int8", INT8_FILE, text, _LOAD_ONNX % INT8_FILE
    text = (
        f"TorchScript with int8 kernels of the CPU ({int8.get('method')}).\n"
        "It takes the same float images. Needs only torch:"
    )
    return "int8", TORCH_INT8_FILE, text, _LOAD_TORCH_INT8 % int8["engine"]


def _load(spec: NetworkSpec) -> str:
    """Five lines that build the same network as ``nas_baseline.spaces.networks.build``; six with reduced padding."""
    if spec["builder"] == "timm":
        return _LOAD_TIMM
    divisor = spec.get("width_divisor", 8)
    return _LOAD_MOBILENETV3 % {
        "fit8": "partial(b.round_channels, round_limit=0.95)",
        "fit": f"partial(b.round_channels, divisor={divisor}, round_limit=0.95)",
        "act": spec.get("act", "hard_swish"),
        "keys": ("stem_size", "num_features", "head_bias", "in_chans", "num_classes"),
        "padding": _PADDING if spec.get("dw_padding") else "",
    }
