"""The result of a job as JSON: the ``outcome`` of ``attempt_ended``. Each kind of work has its own fields.

Fields are added here and never renamed. Old ledgers lack the later ones, so every field may be absent.
"""

from __future__ import annotations

from typing import TypedDict


class FileSums(TypedDict, total=False):
    """Checksums of the files that a job left for later jobs; null if there is no such file."""

    weights_sha256: str | None
    masks_sha256: str | None
    state_sha256: str | None
    """Hash of the state from which a later job continues the training."""


class NetworkCounts(TypedDict, total=False):
    """MACs per image and parameters of a network; ``macs`` and ``nonzero_params`` exclude zeros, the others do not."""

    macs: int
    dense_macs: int
    params: int
    nonzero_params: int


class LayerRecord(TypedDict):
    """A layer after pruning (:class:`pruning.result.LayerSparsity`)."""

    name: str
    role: str
    macs: int
    kept_macs: int
    num_weights: int
    num_kept: int


class RolePoint(TypedDict):
    """Accuracy in a scan, with one role of layers pruned to a sparsity (0-1)."""

    role: str
    sparsity: float
    macs: int
    val_top1: float


class CurvePoint(TypedDict):
    """Accuracy in a scan, with the whole network pruned to a sparsity (0-1) by a criterion."""

    scope: str
    criterion: str
    sparsity: float
    macs: int
    val_top1: float


class Int8Record(TypedDict, total=False):
    """The int8 network; if it could not be made, all but ``method`` are null, and ``reason`` says why."""

    val_top1: float | None
    test_top1: float | None
    size_bytes: int | None
    method: str
    engine: str | None
    reason: str


class TimingRecord(TypedDict, total=False):
    """Milliseconds of one forward pass (:class:`harness.latency.timer.Timing`)."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    n: int
    batch_size: int
    threads: int
    device: str
    runtime: str


class JobOutcome(FileSums, NetworkCounts, TypedDict, total=False):
    """The result of a job that ended well. Accuracies are fractions 0-1."""

    # Training and pruning.
    val_top1: float
    epochs: int
    val_curve: list[float]
    stopped_epoch: int
    chosen_lr: float
    """The learning rate that a range test chose."""
    supernet_val_top1: float
    layers: list[LayerRecord]
    widths: dict[str, list[int]]
    """Width of each group of channels before and after, keyed by the layer that leads the group."""
    removed_blocks: list[str]
    # Scores and scans.
    scores: list[float]
    num_val: int
    sensitivity: list[RolePoint]
    sparsity_curve: list[CurvePoint]
    dense_val_top1: float
    dense_test_top1: float
    # Deliveries.
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
    """Side of the network's images in pixels, if it differs from the dataset's."""
    size_bytes: dict[str, int | None]
    """Size of each kind of file in bytes."""
    left_out: dict[str, str]
    """Why a file is missing, by kind of file; in a prune job, why channels stay, by layer."""
    # Exports, and evaluations in old ledgers.
    export: str
    onnx_max_abs_error: float
    int8: Int8Record | None
    latency: TimingRecord | None
    dead_channels: int
    dense_macs_without_dead: int
