"""What a delivered network is like to use: int8 accuracy, sizes of its files, latency. Only where that was measured."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from reports.data.frames import Frames
from reports.data.networks import Network
from reports.statistics import mean_interval, paired_difference

FORMATS = ("float", "sparse", "int8", "onnx")
CONDITIONS = ("batch_size", "threads", "device", "runtime")


def deployments(frames: Frames) -> pd.DataFrame:
    """One row per delivered network of which any of it was measured.

    Sizes are in kB (1000 bytes). Latencies are the median and the 10th and 90th percentile of ``latency_runs`` passes of
    one batch, in ms.
    """
    rows = [_row(n) for n in frames.delivered if n.int8 or n.latency or any(n.size_bytes.values())]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["target", "label"])


def deployment_rows(frames: Frames) -> list[dict[str, Any]]:
    """One row per target and kind of network, with means and 95 % intervals over replicates."""
    rows: list[dict[str, Any]] = []
    for (target, label), group in deployments(frames).groupby(["target", "label"]):
        row: dict[str, Any] = {"target": target, "label": label}
        known = {name: _by_replicate(group, name) for name in group.columns if name in _numbers()}
        for name in ("test_top1", "int8_test_top1", "latency_ms"):
            top = math.inf if name == "latency_ms" else 1.0
            row |= mean_interval(list(known[name].values()), at_least=0.0, at_most=top).columns(name)
        row |= paired_difference(known["int8_test_top1"], known["test_top1"]).columns("int8_minus_float_test_top1")
        for name in ("latency_p10_ms", "latency_p90_ms", *(f"size_{kind}_kb" for kind in FORMATS)):
            row[name] = mean_interval(list(known[name].values())).value
        row |= {name: _distinct(group[name]) for name in (*CONDITIONS, "int8_engine", "int8_reason")}
        rows.append(row)
    return rows


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
    """The different values that are known, as text; None where there is none."""
    return (
        ", ".join(dict.fromkeys(f"{value:g}" if isinstance(value, float) else str(value) for value in values.dropna()))
        or None
    )
