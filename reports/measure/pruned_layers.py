"""Where the sparsity is: what pruning kept of each layer and of each role, before fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from accounting.cost.lineage import method_name
from accounting.ledger.outcomes import LayerRecord
from accounting.ledger.records import Phase
from accounting.words.methods import Method, parse_method
from reports.data.frames import Frames
from reports.statistics import Cell, Estimate, mean_interval
from reports.words.colours import role_rank

KEYS = ["target", "route", "method", "replicate"]
COUNTS = ["macs", "kept_macs", "num_weights", "num_kept"]
COLUMNS = [*KEYS, "position", "layer", "role", *COUNTS]


def pruned_layers(frames: Frames) -> pd.DataFrame:
    """One row per layer of every network pruned to its target (iterative pruning: in the last round).

    ``position`` numbers the layers from 0 in the order of the network. Methods that remove channels or blocks leave no zeros
    in a layer, and so have no rows.
    """
    specs = frames.view.links
    latest: dict[tuple[object, ...], list[LayerRecord]] = {}
    for job in frames.view.jobs:
        if job.phase != Phase.PRUNE or job.target is None:
            continue
        prune, layers = specs.get(job.job, {}).get("prune"), (job.outcome or {}).get("layers")
        if isinstance(prune, dict) and layers and prune.get("target_macs", job.target) == job.target:
            latest[job.target, job.route, method_name(prune), job.replicate] = layers
    rows = [
        [*key, position, layer["name"], str(layer.get("role") or "other"), *_counts(layer)]
        for key, layers in sorted(latest.items(), key=lambda item: [str(part) for part in item[0]])
        for position, layer in enumerate(layers)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values([*KEYS, "position"], ignore_index=True)


def _counts(layer: LayerRecord) -> list[int]:
    """Counts in the order of ``COUNTS``."""
    return [layer["macs"], layer["kept_macs"], layer["num_weights"], layer["num_kept"]]


def by_role(layers: pd.DataFrame) -> pd.DataFrame:
    """Layers summed by role and replicate: ``sparsity``, and the role's share of all MACs before and after (0-1)."""
    table = layers.groupby([*KEYS, "role"], as_index=False)[COUNTS].sum()
    table["sparsity"] = 1 - table["num_kept"] / table["num_weights"]
    totals = table.groupby(KEYS)[["macs", "kept_macs"]].transform("sum")
    table["share_before"] = table["macs"] / totals["macs"]
    table["share_after"] = table["kept_macs"] / totals["kept_macs"]
    return table


@dataclass(frozen=True)
class RoleRow:
    """A layer role in the networks that a method pruned to a target, over replicates; shares are 0-1."""

    target: int
    route: str
    method: Method
    role: str
    sparsity: Estimate
    share_before: Estimate
    """The role's share of all MACs before pruning."""
    share_after: Estimate

    def columns(self) -> dict[str, Cell]:
        """The fields as a row of numbers."""
        return {
            "target": self.target,
            "route": self.route,
            "method": str(self.method),
            "scope": self.method.scope,
            "criterion": self.method.criterion,
            "schedule": self.method.schedule,
            "role": self.role,
            **self.sparsity.columns("sparsity"),
            **self.share_before.columns("share_before"),
            **self.share_after.columns("share_after"),
        }


def role_rows(layers: pd.DataFrame) -> list[RoleRow]:
    """One row per target, method and role, with means and 95 % intervals over replicates."""
    rows = [
        RoleRow(
            int(str(target)),
            str(route),
            parse_method(str(name)),
            str(role),
            *(_share(group[column]) for column in ("sparsity", "share_before", "share_after")),
        )
        for (target, route, name, role), group in by_role(layers).groupby(["target", "route", "method", "role"])
    ]
    return sorted(rows, key=lambda row: (row.target, row.route, str(row.method), role_rank(row.role)))


def _share(values: pd.Series) -> Estimate:
    return mean_interval([float(value) for value in values], at_least=0.0, at_most=1.0)


def method_rank(name: str) -> tuple[bool, bool, str]:
    """Sort key for methods: the global scope first, magnitude first within a scope."""
    method = parse_method(name)
    return method.scope != "global", method.criterion != "magnitude", name
