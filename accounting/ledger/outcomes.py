"""What came of a job, as JSON: the ``outcome`` of ``attempt_ended``. Each kind of work has its own fields.

Fields are added here, never renamed, and those that came later are absent in old ledgers; so every field may be absent.
"""

from __future__ import annotations

from typing import TypedDict


class FileSums(TypedDict, total=False):
    """Checksums of what a job left for later jobs; null where there is no such file."""

    weights_sha256: str | None
    masks_sha256: str | None
    state_sha256: str | None
    """Hash of the state from which a later job continues the training."""


class NetworkCounts(TypedDict, total=False):
    """MACs of one image and parameters of a network: ``macs`` and ``nonzero_params`` without zeros, the others with them."""

    macs: int
    dense_macs: int
    params: int
    nonzero_params: int


class LayerRecord(TypedDict):
    """What pruning left of a layer (:class:`pruning.result.LayerSparsity`)."""

    name: str
    role: str
    macs: int
    kept_macs: int
    num_weights: int
    num_kept: int


class RolePoint(TypedDict):
    """A scan's accuracy with one role of layers pruned to a sparsity (0-1)."""

    role: str
    sparsity: float
    macs: int
    val_top1: float


class CurvePoint(TypedDict):
    """A scan's accuracy with the whole network pruned to a sparsity (0-1) by a criterion."""

    scope: str
    criterion: str
    sparsity: float
    macs: int
    val_top1: float


class Int8Record(TypedDict, total=False):
    """The int8 network: all but ``method`` null where it could not be made, for ``reason``."""

    val_top1: float | None
    test_top1: float | None
    size_bytes: int | None
    method: str
    engine: str | None
    reason: str


class TimingRecord(TypedDict, total=False):
    """Milliseconds of one pass (:class:`harness.latency.timer.Timing`)."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    n: int
    batch_size: int
    threads: int
    device: str
    runtime: str


class JobOutcome(FileSums, NetworkCounts, TypedDict, total=False):
    """What came of a job that ended well. Accuracies are fractions 0-1."""

    # Of training and pruning.
    val_top1: float
    epochs: int
    val_curve: list[float]
    stopped_epoch: int
    chosen_lr: float
    """The learning rate that a range test chose."""
    supernet_val_top1: float
    layers: list[LayerRecord]
    widths: dict[str, list[int]]
    """Width of each group of channels before and after, by the layer that leads the group."""
    removed_blocks: list[str]
    # Of scores and scans.
    scores: list[float]
    num_val: int
    sensitivity: list[RolePoint]
    sparsity_curve: list[CurvePoint]
    dense_val_top1: float
    dense_test_top1: float
    # Of deliveries.
    label: str
    description: str
    parent: str | None
    target_latency_ms: float | None
    test_top1: float
    num_val_scored: int
    num_test_scored: int
    sparsity: float
    model_dir: str
    from_job: str
    image_size: int
    """Pixels of a side of the network's images, where they are not those that the dataset gives."""
    size_bytes: dict[str, int | None]
    """Size of each kind of file in bytes."""
    left_out: dict[str, str]
    """Why there is none, by the kind of file; of a prune job, why channels stay, by layer."""
    # Of exports, and of the evaluations of old ledgers.
    export: str
    onnx_max_abs_error: float
    int8: Int8Record | None
    latency: TimingRecord | None
    dead_channels: int
    dense_macs_without_dead: int
