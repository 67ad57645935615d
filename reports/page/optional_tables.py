"""Tables that not every study has, each with its caption; they have no rows if nothing was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from accounting.words.methods import schedule_text
from accounting.words.names import label_rank, label_text, method_label, unit_text
from accounting.words.quantities import macs_short, macs_text
from accounting.words.task import task
from reports.data.frames import Frames
from reports.measure.deployment import FORMATS, DeploymentRow, deployment_rows
from reports.measure.methods import method_rows
from reports.measure.pruned_layers import pruned_layers, role_rows
from reports.page.page_table import PageTable
from reports.sentences.levels import with_level
from reports.statistics import NOTHING, Estimate
from reports.words.colours import role_rank
from reports.words.wording import (
    NOT_MEASURED,
    POLICY_SHORT,
    number,
    percent_over_interval,
    points_over_interval,
    role_text,
)

METHODS_CAPTION = (
    "Means over replicates with 95 % t-intervals, the {best} on test first. Before: on validation, after the last "
    "pruning and before the fine-tuning that followed it. Costs are those of the jobs that led to the network; with "
    "“parent free” the pretraining is not charged. Networks share jobs, so costs do not add up."
)
ROLES_CAPTION = (
    "Share of the weights of each role that are zero after pruning: means over replicates with 95 % t-intervals. Shares of "
    "the MACs and single layers are in tables/sparsity_by_role and tables/sparsity_by_layer."
)
DEPLOYMENT_CAPTION = (
    "Means over replicates with 95 % t-intervals; int8 − float is paired by replicate. Sizes are those of the delivered "
    "files, in kB of 1000 bytes. Latency: median of a forward pass; below it the 10th to 90th percentile."
)


def method_table(frames: Frames) -> tuple[PageTable, str]:
    """Pruning methods and controls, by target."""
    unit = unit_text(frames.unit)
    rows = [
        [macs_text(row.target), row.text, schedule_text(row.schedule) if row.schedule else NOT_MEASURED]
        + [macs_short(row.macs)]
        + [
            with_level(percent_over_interval(accuracy), accuracy, frames.num_classes)
            for accuracy in (row.val_before, row.val_top1, row.test_top1)
        ]
        + [str(row.test_top1.n)]
        + [number(cost.value) for cost in (row.cost_full, row.cost_free)]
        for row in method_rows(frames)
    ]
    headers = [
        "target (MACs)",
        "method",
        "schedule",
        "MACs reached",
        f"val {task().metric} before",
        f"val {task().metric}",
        f"test {task().metric}",
        "n",
    ]
    headers += [f"{unit}, {POLICY_SHORT[policy]}" for policy in ("full", "free")]
    return PageTable(headers, rows, text_columns=(1, 2)), task().fill(METHODS_CAPTION)


def role_table(frames: Frames) -> tuple[PageTable, str]:
    """Sparsity by role: a row per target and method, a column per role."""
    found = role_rows(pruned_layers(frames))
    roles = sorted({row.role for row in found}, key=role_rank)
    cells: dict[tuple[int, str, str], dict[str, Estimate]] = {}
    for row in found:
        cells.setdefault((row.target, row.route, str(row.method)), {})[row.role] = row.sparsity
    rows = [
        [macs_text(target), label_text(method_label(route, method))]
        + [percent_over_interval(of_role.get(role, NOTHING)) for role in roles]
        + [str(max(estimate.n for estimate in of_role.values()))]
        for (target, route, method), of_role in cells.items()
    ]
    return PageTable(["target (MACs)", "network", *map(role_text, roles), "n"], rows, text_columns=(1,)), ROLES_CAPTION


def deployment_table(frames: Frames) -> tuple[PageTable, str]:
    """Int8 accuracy, file sizes and latency by target and kind of network."""
    found = sorted(deployment_rows(frames), key=lambda row: (row.target, label_rank(row.label)))
    formats = [kind for kind in FORMATS if any(row.sizes_kb[kind] is not None for row in found)]
    rows = [
        [macs_text(row.target), label_text(row.label)]
        + [percent_over_interval(accuracy) for accuracy in (row.test_top1, row.int8_test_top1)]
        + [points_over_interval(row.int8_minus_float)]
        + [number(row.sizes_kb[kind]) for kind in formats]
        + [_latency(row), str(row.n)]
        for row in found
    ]
    headers = [
        "target (MACs)",
        "network",
        f"test {task().metric}, float",
        f"test {task().metric}, int8",
        "int8 − float",
    ]
    headers += [f"{kind.replace('onnx', 'ONNX')} (kB)" for kind in formats]
    table = PageTable([*headers, "latency (ms)", "n"], rows, text_columns=(1,))
    return _without_empty_columns(table), DEPLOYMENT_CAPTION + _circumstances(found)


def _without_empty_columns(table: PageTable) -> PageTable:
    """The table without columns that the study did not measure; text columns, which come first, stay."""
    shown = [
        place for place in range(len(table.headers))
        if place in table.text_columns or any(row[place] != NOT_MEASURED for row in table.rows)
    ]  # fmt: skip
    rows = [[row[place] for place in shown] for row in table.rows]
    return PageTable([table.headers[place] for place in shown], rows, table.text_columns)


def _circumstances(rows: Sequence[DeploymentRow]) -> str:
    """The conditions under which latencies were measured, and the reasons for missing int8 networks."""
    settings = _distinct(", ".join(f"{name.replace('_', ' ')} {said}" for name, said in row.conditions.items())
                         for row in rows if row.conditions["device"] is not None)  # fmt: skip
    reasons = _distinct(row.int8_reason for row in rows if row.int8_reason)
    text = f" Latency measured with {'; '.join(settings)}." if settings else ""
    return f"{text} No int8 network: {'; '.join(reasons)}." if reasons else text


def _latency(row: DeploymentRow) -> str:
    spread = f"\n({number(row.latency_p10_ms)} to {number(row.latency_p90_ms)})"
    return number(row.latency_ms.value) + ("" if row.latency_p10_ms is None else spread)


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
