"""Properties of delivered networks in use: int8 accuracy, file sizes, latency. Only what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from reports.data.frames import Frames
from reports.data.networks import Network
from reports.statistics import Cell, Estimate, mean_interval, paired_difference

FORMATS = ("float", "sparse", "int8", "onnx")
CONDITIONS = ("batch_size", "threads", "device", "runtime")


def deployments(frames: Frames) -> pd.DataFrame:
    """One row per delivered network for which any of this was measured.

    Sizes are in kB (1000 bytes). Latencies are the median and the 10th and 90th percentile of ``latency_runs`` passes of
    one batch, in ms.
    """
    rows = [_row(n) for n in frames.delivered if n.int8 or n.latency or any(n.size_bytes.values())]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["target", "label"])


@dataclass(frozen=True)
class DeploymentRow:
    """Properties of the networks of a kind at a target, over replicates; a field without a number was not measured.

    Accuracies are 0-1, sizes are in kB (1000 bytes) by format, latencies in ms per batch: the median, and means of the 10th
    and 90th percentile. ``conditions`` are those of the latency measurement, each with its distinct values as text.
    """

    target: int
    label: str
    test_top1: Estimate
    int8_test_top1: Estimate
    int8_minus_float: Estimate
    """Int8 minus float accuracy, paired by replicate."""
    latency_ms: Estimate
    latency_p10_ms: float | None
    latency_p90_ms: float | None
    sizes_kb: Mapping[str, float | None]
    conditions: Mapping[str, str | None]
    int8_engine: str | None
    int8_reason: str | None
    """Why there is no int8 network."""

    @property
    def n(self) -> int:
        """The largest number of replicates for which any of this was measured."""
        return max(self.test_top1.n, self.int8_test_top1.n, self.latency_ms.n)

    def columns(self) -> dict[str, Cell]:
        """The fields as a row of numbers."""
        return {
            "target": self.target,
            "label": self.label,
            **self.test_top1.columns("test_top1"),
            **self.int8_test_top1.columns("int8_test_top1"),
            **self.latency_ms.columns("latency_ms"),
            **self.int8_minus_float.columns("int8_minus_float_test_top1"),
            "latency_p10_ms": self.latency_p10_ms,
            "latency_p90_ms": self.latency_p90_ms,
            **{f"size_{kind}_kb": size for kind, size in self.sizes_kb.items()},
            **self.conditions,
            "int8_engine": self.int8_engine,
            "int8_reason": self.int8_reason,
        }


def deployment_rows(frames: Frames) -> list[DeploymentRow]:
    """One row per target and kind of network, with means and 95 % intervals over replicates."""
    return [
        _deployment(int(str(target)), str(label), group)
        for (target, label), group in deployments(frames).groupby(["target", "label"])
    ]


def _deployment(target: int, label: str, group: pd.DataFrame) -> DeploymentRow:
    known = {name: _by_replicate(group, name) for name in group.columns if name in _numbers()}

    def mean(name: str, at_most: float = math.inf) -> Estimate:
        return mean_interval(list(known[name].values()), at_least=0.0, at_most=at_most)

    return DeploymentRow(
        target,
        label,
        mean("test_top1", 1.0),
        mean("int8_test_top1", 1.0),
        paired_difference(known["int8_test_top1"], known["test_top1"]),
        mean("latency_ms"),
        mean("latency_p10_ms").value,
        mean("latency_p90_ms").value,
        {kind: mean(f"size_{kind}_kb").value for kind in FORMATS},
        {name: _distinct(group[name]) for name in CONDITIONS},
        _distinct(group["int8_engine"]),
        _distinct(group["int8_reason"]),
    )


def _numbers() -> tuple[str, ...]:
    sizes = tuple(f"size_{kind}_kb" for kind in FORMATS)
    return ("test_top1", "int8_test_top1", *sizes, "latency_ms", "latency_p10_ms", "latency_p90_ms")


def _row(n: Network) -> dict[str, object]:
    row: dict[str, object] = {"target": n.target, "label": n.label, "route": n.route, "replicate": n.replicate}
    row |= {"macs": n.macs, "dense_macs": n.dense_macs, "sparsity": n.sparsity, "test_top1": n.test_top1}
    row |= {"int8_val_top1": n.int8.get("val_top1"), "int8_test_top1": n.int8.get("test_top1")}
    row |= {"int8_method": n.int8.get("method"), "int8_engine": n.int8.get("engine")}
    row |= {"int8_reason": n.int8.get("reason")}
    sizes = {"int8": n.int8.get("size_bytes"), **{k: v for k, v in n.size_bytes.items() if v is not None}}
    row |= {f"size_{kind}_kb": None if (size := sizes.get(kind)) is None else size / 1000 for kind in FORMATS}
    timed = n.latency
    row |= {"latency_ms": timed.get("median_ms"), "latency_p10_ms": timed.get("p10_ms")}
    row |= {"latency_p90_ms": timed.get("p90_ms"), "latency_runs": timed.get("n")}
    row |= {"batch_size": timed.get("batch_size"), "threads": timed.get("threads")}
    return row | {"device": timed.get("device"), "runtime": timed.get("runtime")}


def _by_replicate(group: pd.DataFrame, name: str) -> dict[int, float]:
    known = group.dropna(subset=[name])
    return {int(replicate): float(value) for replicate, value in zip(known["replicate"], known[name], strict=True)}


def _distinct(values: pd.Series) -> str | None:
    """The distinct known values as text; None if there are none."""
    return (
        ", ".join(dict.fromkeys(f"{value:g}" if isinstance(value, float) else str(value) for value in values.dropna()))
        or None
    )
