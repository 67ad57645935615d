"""Pruning methods side by side, each with its own delivered network, and the controls that show what pruning adds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from accounting.cost.lineage import lineage
from accounting.ledger.records import Phase
from accounting.words.methods import ONE_SHOT, Method
from accounting.words.names import COMPARED, PRUNE, is_method, label_text, method_label, method_of, without_method
from reports.data.frames import Frames
from reports.statistics import Cell, Estimate, mean_interval

if TYPE_CHECKING:  # answers do not need pandas
    import pandas as pd

COLUMNS = [
    "target", "label", "route", "replicate", "macs", "val_before", "val_top1", "test_top1", "cost_full_h",
    "cost_free_h",
]  # fmt: skip


def method_networks(frames: Frames) -> pd.DataFrame:
    """One row per delivered network of a single method or of a control; none if no single method was delivered.

    ``val_before`` is the validation accuracy after the (last) pruning and before the fine-tuning that follows.
    """
    own = (*COMPARED, *frames.info.challengers)
    rows: list[list[object]] = []
    if any(is_method(network.label) for network in frames.delivered):
        before = _before_finetuning(frames)
        rows = [
            [*(getattr(n, name) for name in COLUMNS[:5]), before.get(n.job), n.val_top1, n.test_top1]
            + [n.cost_h[policy] for policy in ("full", "free")]
            for n in frames.delivered
            if n.label not in own
        ]
    import pandas as pd

    table = pd.DataFrame(rows, columns=COLUMNS)
    measured = [name for name in COLUMNS if name not in ("label", "route")]
    return table.astype({name: float for name in measured if name not in ("target", "replicate")})


@dataclass(frozen=True)
class MethodRow:
    """A pruning method or control at a target, over replicates: accuracies 0-1, costs in hours of the study's unit.

    ``method`` is None for a control. ``val_before`` is the validation accuracy after the (last) pruning.
    """

    target: int
    label: str
    text: str
    method: Method | None
    macs: float
    val_before: Estimate
    val_top1: Estimate
    test_top1: Estimate
    cost_full: Estimate
    cost_free: Estimate

    @property
    def schedule(self) -> str | None:
        """The schedule of the pruning; None for a control."""
        return None if self.method is None else self.method.schedule

    def columns(self) -> dict[str, Cell]:
        """The fields as a row of numbers."""
        method = self.method
        row: dict[str, Cell] = {"target": self.target, "label": self.label, "method": self.text}
        row |= {"scope": method.scope if method else None, "criterion": method.criterion if method else None}
        row |= {"schedule": self.schedule, "macs": self.macs}
        row |= self.val_before.columns("val_before") | self.val_top1.columns("val_top1")
        row |= self.test_top1.columns("test_top1")
        for name, cost in (("cost_full", self.cost_full), ("cost_free", self.cost_free)):
            row |= {f"{name}_h": cost.value, f"{name}_low_h": cost.low, f"{name}_high_h": cost.high}
        return row


def method_rows(frames: Frames) -> list[MethodRow]:
    """One row per target and method or control, the most accurate on test first, with means over replicates."""
    rows = [
        MethodRow(
            int(str(target)),
            str(label),
            method_text(_unscheduled(str(label))),
            method_of(str(label)),
            float(group["macs"].mean()),
            *(_known(group[name], at_least=0.0, at_most=1.0) for name in ("val_before", "val_top1", "test_top1")),
            *(_known(group[f"{name}_h"], at_least=0.0) for name in ("cost_full", "cost_free")),
        )
        for (target, label), group in method_networks(frames).groupby(["target", "label"])
    ]
    return sorted(rows, key=lambda row: (row.target, -(row.test_top1.value or 0.0), row.label))


def parent_val_top1(frames: Frames) -> Estimate:
    """Validation accuracy of the dense parent: mean over replicates."""
    values = [
        float(job.outcome["val_top1"])
        for job in frames.view.jobs
        if job.phase == Phase.PRETRAIN and isinstance(job.outcome, dict) and job.outcome.get("val_top1") is not None
    ]
    return mean_interval(values, at_least=0.0, at_most=1.0)


def parent_test_top1(frames: Frames) -> Estimate:
    """Test accuracy of the dense parent: mean over replicates; scans measure it."""
    found = [job.outcome.get("dense_test_top1") for job in frames.view.jobs if isinstance(job.outcome, dict)]
    return mean_interval([float(value) for value in found if value is not None], at_least=0.0, at_most=1.0)


def method_text(label: str) -> str:
    """The name of a method or control; the route is left out if it is the prune route."""
    method = method_of(label)
    return label_text(label) if method is None or without_method(label) != PRUNE else method.text


def _unscheduled(label: str) -> str:
    """The label of the method on a one-shot schedule."""
    method = method_of(label)
    return label if method is None else method_label(without_method(label), replace(method, schedule=ONE_SHOT))


def schedule_of(label: str) -> str:
    """The schedule of a label's method; one-shot if the label is not a method."""
    method = method_of(label)
    return ONE_SHOT if method is None else method.schedule


def _before_finetuning(frames: Frames) -> dict[str, float]:
    """The accuracy measured by the nearest prune job before each evaluation, by evaluation."""
    specs = frames.view.links
    measured = {
        job.job: float(job.outcome["val_top1"])
        for job in frames.view.jobs
        if job.phase == Phase.PRUNE and isinstance(job.outcome, dict) and job.outcome.get("val_top1") is not None
    }
    found: dict[str, float] = {}
    for network in frames.delivered:
        pruned = [job for job in lineage(specs, network.job) if job in measured]
        if pruned:
            found[network.job] = measured[pruned[0]]
    return found


def _known(values: pd.Series, at_least: float = -math.inf, at_most: float = math.inf) -> Estimate:
    return mean_interval([float(value) for value in values.dropna()], at_least=at_least, at_most=at_most)
