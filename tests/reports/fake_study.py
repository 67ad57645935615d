"""A synthetic study whose costs can be worked out by hand.

Per replicate r, in hours of one CPU core, the same for both targets (500k and 800k MACs, the parent has 1M):
- prune: pretrain 3.42 (shared); per target finetune 0.2, evaluate 0.01.
- search: four candidates of CANDIDATE_H[r] / 4 each (shared); per target retrain 0.2, evaluate 0.01.
- scratch: per target family 0.3, pruned structure 0.4, evaluate 0.01 each; one attempt of 0.1 was lost (r 1, 500k).

Within an attempt of length L: work begins at 0.1 L, the first of two epochs ends at 0.5 L, the second at 0.9 L.
Pruning ends at a validation accuracy of 0.85 and search at 0.86 (+ 0.02 at 800k), both with the second epoch; first
epochs and candidates stay below 0.83. So q is 0.85 (0.87), pruning reaches it at 0.18 h into the finetuning, search at
0.18 h into the retraining.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter

START = 1_760_000_000.0
TARGETS = (500_000, 800_000)
PARENT_MACS = 1_000_000
PRETRAIN_H = 3.42
CANDIDATE_H = (0.54, 0.90, 1.44)
TEST = {"prune": (0.84, 0.85, 0.86), "search": (0.83, 0.83, 0.83)}
BONUS = {500_000: 0.0, 800_000: 0.02}
LABEL_MACS = {"prune": 1.0, "search": 0.95, "scratch_family": 0.8, "scratch_pruned_structure": 1.0}


class Timeline:
    """Jobs run one after another on one core; ``records`` collects (kind, t, fields)."""

    def __init__(self, records, device="node-1/cpu", meter="wall_clock"):
        self.t, self.records, self.device, self.meter = START, records, device, meter

    def attempt(
        self, job, route, phase, target, replicate, hours, *, macs, vals=(), outcome=None, ok=True, n=0, **spec
    ):
        name, length, begin = f"{job}#{n}", hours * 3600, self.t
        common = {"attempt": name}
        self.records.append(
            (
                Kind.ATTEMPT_STARTED,
                begin,
                dict(
                    session="s1",
                    **common,
                    job=job,
                    route=route,
                    phase=phase,
                    target=target,
                    replicate=replicate,
                    allocation=None,
                    devices={self.device: 1.0},
                    meter=self.meter,
                    network_macs=macs,
                    spec={"job": job, **spec},
                ),
            )
        )
        self.records.append((Kind.WORK_BEGUN, begin + 0.1 * length, dict(**common, epoch=0)))
        for epoch, val in enumerate(vals, start=1):
            share = 0.9 if epoch == len(vals) else 0.5
            self.records.append(
                (
                    Kind.PROGRESS,
                    begin + share * length,
                    dict(
                        **common,
                        epoch=epoch,
                        num_epochs=len(vals),
                        val_top1=val,
                        train_loss=1.0 / epoch,
                        checkpointed=False,
                    ),
                )
            )
        self.t = begin + length
        self.records.append(
            (
                Kind.ATTEMPT_ENDED,
                self.t,
                dict(
                    **common,
                    status="ok" if ok else "failed",
                    reason=None if ok else "RuntimeError: out of memory",
                    outcome=outcome if ok else None,
                    work_end_t=begin + 0.9 * length,
                    measurement=None,
                ),
            )
        )

    def train(self, job, route, phase, target, replicate, hours, vals, macs, dense=PARENT_MACS):
        outcome = {
            "val_top1": vals[-1],
            "macs": macs,
            "dense_macs": dense,
            "params": 40_000,
            "nonzero_params": 20_000,
            "epochs": 2,
        }
        self.attempt(job, route, phase, target, replicate, hours, macs=macs, vals=vals, outcome=outcome)

    def deliver(self, label, route, target, replicate, from_job, val, test, name=None):
        macs = int(LABEL_MACS[label] * target)
        outcome = {
            "label": label,
            "description": f"a network by {label}",
            "val_top1": val,
            "test_top1": test,
            "macs": macs,
            "dense_macs": PARENT_MACS if route == "prune" else macs,
            "params": 40_000,
            "nonzero_params": 20_000,
            "model_dir": f"models/{target}/{label}/{replicate}",
            "from_job": from_job,
        }
        name = name or f"{from_job}-evaluate-{label}"
        self.attempt(name, route, "evaluate", target, replicate, 0.01, macs=macs, outcome=outcome)


def search_replicate(line, r, targets):
    for i in range(4):
        macs, val = (450_000, 0.70) if i % 2 else (760_000, 0.74)
        name = f"search-r{r}-candidate-{i:03d}"
        line.train(name, "search", "search", None, r, CANDIDATE_H[r % 3] / 4, (0.5, val + 0.01 * i), macs, macs)
    for target in targets:
        bonus, job, macs = BONUS[target], f"search-r{r}-t{target}-retrain-0", int(0.95 * target)
        line.train(job, "search", "retrain", target, r, 0.2, (0.80 + bonus, 0.86 + bonus), macs, macs)
        line.deliver("search", "search", target, r, job, 0.86 + bonus, TEST["search"][r % 3] + bonus)


def prune_replicate(line, r, targets, pretrain_h=PRETRAIN_H):
    line.train(f"prune-r{r}-pretrain", "prune", "pretrain", None, r, pretrain_h, (0.8, 0.9), PARENT_MACS)
    for target in targets:
        bonus, job = BONUS[target], f"prune-r{r}-t{target}-global_magnitude-finetune"
        line.train(job, "prune", "finetune", target, r, 0.2, (0.82 + bonus, 0.85 + bonus), target)
        line.deliver("prune", "prune", target, r, job, 0.85 + bonus, TEST["prune"][r % 3] + bonus)


def scratch_replicate(line, r, targets):
    for target in targets:
        for label, hours, val in (("scratch_family", 0.3, 0.80), ("scratch_pruned_structure", 0.4, 0.82)):
            job, val, macs = f"{label}-r{r}-t{target}-retrain", val + BONUS[target], int(LABEL_MACS[label] * target)
            if (r, target, label) == (1, 500_000, "scratch_family"):
                line.attempt(job, "scratch", "retrain", target, r, 0.1, macs=macs, vals=(0.5,), ok=False, n=9)
            line.train(job, "scratch", "retrain", target, r, hours, (val - 0.1, val), macs, macs)
            line.deliver(label, "scratch", target, r, job, val, val - 0.02 + 0.004 * r)


def build_study(
    folder: Path,
    *,
    replicates=3,
    targets=TARGETS,
    routes=("search", "prune", "scratch"),
    until_h=None,
    cuda=False,
    pretrain_h=PRETRAIN_H,
    planned=None,
    budget=None,
    more=None,
) -> Path:
    """Write a study folder; ``until_h`` cuts off the ledger that many hours after its start.

    ``more`` maps further routes to functions (timeline, replicate, targets) that each write one replicate.
    """
    more = more or {}
    device, kind = ("GPU-1", "cuda") if cuda else ("node-1/cpu", "cpu_core")
    records: list = []
    lines = {route: Timeline(records, device) for route in (*routes, *more)}
    for r in range(replicates):
        if "search" in routes:
            search_replicate(lines["search"], r, targets)
        if "prune" in routes:
            prune_replicate(lines["prune"], r, targets, pretrain_h)
        if "scratch" in routes:
            scratch_replicate(lines["scratch"], r, targets)
        for route, write in more.items():
            write(lines[route], r, targets)
    for r in range(replicates if "search" in lines else 0):
        work = {
            "session": "s1",
            "route": "search",
            "phase": "fit_predictor",
            "target": None,
            "replicate": r,
            "duration_s": 3.6,
        }
        records.append((Kind.DRIVER_WORK, START + 10 + r, work))
    end = max((line.t for line in lines.values()), default=START + 60)
    capacity = [
        {
            "device": device,
            "device_kind": kind,
            "amount": float(len(lines) or 1),
            "name": "Test device",
            "node": "node-1",
        }
    ]
    opened = {"session": "s1", "study": "fake", "capacity": capacity, "environment": {"python": "3.13"}}
    closed = (Kind.SESSION_CLOSED, end, {"session": "s1", "reason": "done"})
    records = [(Kind.SESSION_OPENED, START, opened), *sorted(records, key=lambda record: record[1]), closed]
    if until_h is not None:
        records = [record for record in records if record[1] <= START + until_h * 3600]
    _write(folder, records)
    configs = {name: {} for name in routes}
    study = {
        "name": "fake",
        "dataset": {"name": "fashion_mnist_mini"},
        "targets": sorted(targets, reverse=True),
        "replicates": planned or replicates,
        "parent": {"family": "fbnetv3_mini", "variant": "l"},
        "budget": budget or {"search": None, "prune": None, "scratch": None},
        "routes": {name: configs.get(name) for name in ("search", "prune", "scratch")} | {name: {} for name in more},
    }
    environment = {"python": "3.13.1", "torch": "2.15.0", "machine": {"cpu": "test <cpu> & co", "cores": 2}}
    document = yaml.safe_dump({"study": study, "environment": environment}, sort_keys=False)
    (folder / "study.yaml").write_text(document, encoding="utf-8")
    return folder


def _write(folder: Path, records) -> None:
    fsync, os.fsync = os.fsync, lambda fd: None
    try:
        with LedgerWriter(folder / "ledger", "s1", "driver", clock=lambda: START) as writer:
            for kind, t, fields in records:
                writer.append(kind, t=t, **fields)
    finally:
        os.fsync = fsync
