"""``model.py`` of a delivered folder: builds the network, for use or further training, without this package.

The file is the same for all networks of a task; everything specific is read from the files next to it. The functions
that build a network from a spec and fit it to the shapes of its weights are copied from this package's source.
"""

from __future__ import annotations

import inspect
import re

from harness.data.pixels import SIXTEEN_BITS_AS_I, UNDEFINED_RANGE, NotAnImage, to_rgb, white_of
from harness.data.sized import resized
from harness.task.base import Task
from nas_baseline.spaces.networks import build_mobilenetv3
from pruning import resize

MODULE_FILE = "model.py"

_HEAD = '''\
"""This network, to use or to train on. Needs torch, timm and safetensors, not the package that made it.

    from model import {NAMES}, build, preprocess
    model = build()  # trained weights, in eval mode; model.train() to train it on
    {head} = model(preprocess()(Image.open("picture.png"))[None])
    {reading}

The architecture and what the images are is read from architecture.json, the weights from model.safetensors, beside it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.layers.create_act import get_act_layer
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.mobilenetv3 import MobileNetV3
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torchvision import transforms

FOLDER = Path(__file__).parent
ABOUT: dict[str, Any] = json.loads((FOLDER / "architecture.json").read_text(encoding="utf-8"))
{NAMES}: tuple[str, ...] = tuple(ABOUT["class_names"])
"""Names of the {outputs} in the order of the outputs; empty where the data has none."""
'''

_PUBLIC = '''\
def build() -> nn.Module:
    """The network with its trained weights on the CPU, in eval mode: built dense, then narrowed to its weights."""
    spec = ABOUT["network"]
    is_timm = spec["builder"] == "timm"
    dense = timm.create_model(spec["name"], **spec.get("kwargs", {})) if is_timm else build_mobilenetv3(spec)
    return fit_to_state(dense, load_file(FOLDER / "model.safetensors")).eval()


def preprocess() -> Callable[[Image.Image], Tensor]:
    """From a PIL image to a float tensor (C, H, W), as images were made when the network was evaluated."""
    channels, *own_size = ABOUT["image_shape"]
    size = ABOUT.get("decoded_px", own_size)
    interpolation = transforms.InterpolationMode(ABOUT["interpolation"])
    is_cropped = ABOUT["resize"] == "shorter_side"
    return transforms.Compose([
        to_rgb if channels == 3 else _to_grey,
        transforms.Resize(ABOUT["resize_px"] if is_cropped else size, interpolation),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize(ABOUT["mean"], ABOUT["std"]),
        _at_own_size,
    ])


def _at_own_size(image: Tensor) -> Tensor:
    """Where the network's images are of another size than those of the data that it was trained on."""
    return resized(image[None], tuple(ABOUT["image_shape"][1:]), ABOUT["interpolation"])[0]


def _to_grey(image: Image.Image) -> Image.Image:
    return to_rgb(image).convert("L")
'''


def in_words_of(task: Task, text: str) -> str:
    """The text with the task's words in place of ``{outputs}``, ``{head}``, ``{NAMES}`` and ``{reading}``."""
    words = task.words
    named = {"NAMES": names_of(task), "reading": task.reading, "outputs": words.outputs, "head": words.head}
    for key, word in named.items():
        text = text.replace(f"{{{key}}}", word)
    return text


def names_of(task: Task) -> str:
    """The name of the constant in ``model.py`` that holds the names of the outputs."""
    return re.sub(r"\W+", "_", task.words.outputs).upper()


def module_text(task: Task) -> str:
    """The text of ``model.py``."""
    marks = f"UNDEFINED_RANGE = {_tuple(UNDEFINED_RANGE)}\nSIXTEEN_BITS_AS_I = {_tuple(SIXTEEN_BITS_AS_I)}\n"
    narrowing = (resize.fit_to_state, resize._drop_missing, resize._set_sizes, resize._set_heads)
    copied = (build_mobilenetv3, *narrowing, NotAnImage, white_of, to_rgb, resized)
    parts = (in_words_of(task, _HEAD) + marks, _PUBLIC, *(inspect.getsource(part) for part in copied))
    return re.sub(r"  # type: ignore\[[\w, -]+\]", "", "\n\n".join(parts))


def _tuple(names: tuple[str, ...]) -> str:
    return "(" + ", ".join(f'"{name}"' for name in names) + ")"
