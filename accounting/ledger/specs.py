"""A job and its network as JSON: the ``spec`` of ``attempt_started``.

``harness/jobs/spec.py`` writes and reads jobs, ``nas_baseline/spaces/networks.py`` builds networks. Fields are added
here and never renamed. Old ledgers lack the later ones, so every field may be absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

HalfName = Literal["first", "second"]
"""The half of the validation split on which members are scored: every other image, from the first or the second on."""


class NetworkSpec(TypedDict, total=False):
    """A network; ``builder`` decides which of the fields it has (docs/architecture.md, Networks as JSON)."""

    builder: str
    """``timm``, ``mobilenetv3`` or ``supernet``."""
    name: str
    kwargs: dict[str, Any]
    """Keyword arguments of ``timm.create_model``."""
    arch_def: list[list[str]]
    stem_size: int
    num_features: int
    head_bias: bool
    drop_rate: float
    drop_path_rate: float
    in_chans: int
    num_classes: int
    dw_padding: dict[str, int]
    """``stage.block`` to the padding of that depthwise convolution."""
    width_divisor: int
    act: str
    pretrained: str
    """The timm network whose published weights it takes."""
    space: Mapping[str, object]
    """The declaration of the space, for a supernet."""


class PruneSpec(TypedDict, total=False):
    """How a network is pruned. The oldest have a scope and a criterion only; the last two are for gradual ones."""

    method: str
    scope: str
    criterion: str
    target_macs: int
    floor: float
    channel_floor: float
    round_to: int
    keep: list[str]
    start_macs: int
    end: float


class InheritSpec(TypedDict):
    """The supernet, and the member of it (its choices), whose weights are inherited."""

    supernet: NetworkSpec
    arch: list[int]


class PredictionSpec(TypedDict):
    """A predictor's estimate of a candidate's val_top1."""

    mean: float
    sd: float


class ScanSpec(TypedDict):
    """What a scan of the parent's layers tries."""

    sparsities: list[float]
    criteria: list[str]


class DeliverSpec(TypedDict, total=False):
    """What is delivered; for an export, ``export`` is its kind."""

    label: str
    description: str
    parent: str | None
    target_latency_ms: float | None
    export: str


class TeacherSpec(TypedDict):
    """What a training learns from besides the labels: ``name`` as in the config, its network and its inputs.

    Its weights are those that ``job`` left, those at ``checkpoint``, or (if both are null) those published by timm.
    ``macs`` are those of one image at the teacher's own image size.
    """

    name: str
    network: NetworkSpec
    macs: int
    job: str | None
    checkpoint: str | None
    image_shape: list[int]
    mean: list[float]
    std: list[float]
    interpolation: str


class JobSpec(TypedDict, total=False):
    """A job. Fields that do not concern it are null or empty."""

    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    seed: int
    network: NetworkSpec
    network_macs: int
    computed_macs: int
    is_smaller: bool
    recipe: dict[str, object]
    init_from: str | None
    epochs_before: int
    """Epochs already done, for a job that continues the training of ``init_from``."""
    tuned_by: list[str]
    """Jobs that chose settings of its recipe; it depends on them as on the job it starts from."""
    image_size: int
    """Side of its images in pixels, for a job with an image size of its own."""
    range_test: bool
    """Whether it only tries learning rates, each for one batch."""
    leaves_state: bool
    """Whether a later job can continue its training."""
    structure_from: str | None
    shuffle_masks: bool
    inherit: InheritSpec | None
    checkpoint: str | None
    prune: PruneSpec | None
    stop_epoch: int | None
    score: list[list[int]] | None
    score_half: HalfName
    predicted: PredictionSpec | None
    analysis: ScanSpec | None
    deliver: DeliverSpec | None
    teacher: TeacherSpec | None
