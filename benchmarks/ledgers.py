"""Valid ledgers of any size, and a study folder for each, for the benchmarks of scale.

The study has two targets. In each replicate, the pruning route pre-trains, then prunes, fine-tunes and delivers for
each target; the search route trains candidates, then retrains and delivers for each target; a control trains the
family's network. All further attempts are candidates of the search, the same in each replicate, so that only their
number grows. Every hundredth candidate failed once and was tried again. The ledger is written by
:class:`accounting.ledger.store.LedgerWriter`, without fsync.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter

TARGETS = (380_000, 570_000)
PARENT_MACS = 945_000
LENGTH_S = 100.0
"""Length of an attempt; it begins to work after 1 s and completes its last epoch 5 s before its end."""
START_T = 1_760_000_000.0
SESSION = "20251009T085320Z-bench1"
FAILED_EVERY = 100
RECIPE = {
    "epochs": 10, "batch_size": 64, "optimizer": "sgd", "lr": 0.3, "momentum": 0.9, "weight_decay": 0.0001,
    "warmup_epochs": 0.5, "min_lr": 0.0, "label_smoothing": 0.1, "mixup_alpha": 0.0, "ema_decay": 0.0, "drop_rate": 0.0,
    "drop_path_rate": 0.0, "augment": "none",
}  # fmt: skip
ARCH = [
    ["ds_r1_k3_s1_e1_c8"], ["ir_r1_k3_s2_e4_c16", "ir_r1_k3_s1_e2_c16"],
    ["ir_r1_k5_s2_e4_c24_se0.25", "ir_r2_k5_s1_e3_c24_se0.25"], ["ir_r1_k5_s1_e4_c40_se0.25"], ["cn_r1_k1_s1_c160"],
]  # fmt: skip
STUDY_YAML = """\
name: ledger_scale
dataset:
  name: fashion_mnist_mini
parent:
  family: fbnetv3_mini
  variant: l
targets: [{targets}]
replicates: {replicates}
seed: 0
budget: {{}}
routes:
  search: {{}}
  prune: {{criterion: [global_magnitude]}}
  scratch: {{}}
labels: {{}}
facts:
  spaces: {{}}
  plugins: []
  outside_routes: {{}}
  data: {{fingerprint: none, num_train: 5000, num_val: 1000, num_test: 4000, num_classes: 10}}
  environment: {{python: "3"}}
"""


@dataclass(frozen=True)
class Size:
    """Size of a ledger: attempts in total, epochs and heartbeats per attempt, replicates, and worker processes."""

    attempts: int
    epochs: int = 10
    heartbeats: int = 0
    replicates: int = 3
    workers: int = 8


@dataclass(frozen=True)
class Step:
    """One attempt to write. ``accuracy`` is its final accuracy; ``failed`` cuts the attempt short."""

    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    macs: int
    accuracy: float
    init_from: str | None = None
    label: str | None = None
    n: int = 0
    failed: bool = False
    epochs: int = 0


def write_study(folder: Path, size: Size) -> None:
    """Write a study's folder: ``study.yaml`` and ``ledger/``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = STUDY_YAML.format(targets=", ".join(map(str, TARGETS)), replicates=size.replicates)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    write_ledger(folder / "ledger", size)


def write_ledger(folder: Path, size: Size) -> None:
    """Write only the ledger: one completed session of a driver and several workers, with a segment each."""
    devices = [f"core{n}" for n in range(size.workers)]
    capacity = [
        {"device": device, "device_kind": "cpu_core", "amount": 1.0, "name": "a core", "node": "n"}
        for device in devices
    ]
    with unsynced():
        driver = LedgerWriter(folder, SESSION, "driver", clock=lambda: START_T)
        workers = [LedgerWriter(folder, SESSION, "worker", clock=lambda: START_T) for _ in range(size.workers)]
        driver.append(
            Kind.SESSION_OPENED, t=START_T, session=SESSION, study="ledger_scale", capacity=capacity, environment={}
        )
        turn = 0
        for number, step in enumerate(_steps(size)):
            turn, place = divmod(number, size.workers)
            begin_t, held = START_T + turn * LENGTH_S, {devices[place]: 1.0}
            allocation = f"a{number}"
            driver.append(Kind.ALLOCATION_OPENED, t=begin_t, session=SESSION, allocation=allocation, devices=held)
            _write_attempt(workers[place], step, begin_t, allocation, held, size.heartbeats)
            driver.append(Kind.ALLOCATION_CLOSED, t=begin_t + LENGTH_S, session=SESSION, allocation=allocation)
        for worker in workers:
            worker.close()
        driver.append(Kind.SESSION_CLOSED, t=START_T + (turn + 1) * LENGTH_S, session=SESSION, reason="done")
        driver.close()


def _steps(size: Size) -> Iterator[Step]:
    """The attempts in the order in which they begin; the replicates have equal numbers of them, within one."""
    fixed = [list(_fixed(replicate, size.epochs)) for replicate in range(size.replicates)]
    spare = size.attempts - sum(map(len, fixed))
    if spare < 0:
        raise ValueError(f"{size.attempts} attempts given; {size.replicates} replicates need {sum(map(len, fixed))}")
    randoms = random.Random(0)
    number = 0
    while spare > 0:
        for replicate in range(min(size.replicates, spare)):
            job, macs = f"search-r{replicate}-candidate-{number:06d}", randoms.randrange(200_000, 900_000)
            step = Step(
                job, "search", Phase.SEARCH, None, replicate, macs, 0.5 + 0.3 * randoms.random(), epochs=size.epochs
            )
            if number % FAILED_EVERY == 1 and spare > size.replicates:
                yield Step(**{**vars(step), "failed": True})
                spare -= 1
            yield Step(**{**vars(step), "n": 1})
            spare -= 1
        number += 1
    for steps in fixed:
        yield from steps


def _fixed(replicate: int, epochs: int) -> Iterator[Step]:
    parent, of = f"prune-r{replicate}-pretrain", f"r{replicate}"
    rise = 0.003 * replicate
    yield Step(parent, "prune", Phase.PRETRAIN, None, replicate, PARENT_MACS, 0.88 + rise, epochs=epochs)
    for target in TARGETS:
        pruned, tuned = (f"prune-{of}-t{target}-{word}" for word in ("prune", "finetune"))
        found, control = f"search-{of}-t{target}-retrain", f"scratch-{of}-t{target}-family_s-retrain"
        yield Step(pruned, "prune", Phase.PRUNE, target, replicate, target, 0.6, parent)
        yield Step(tuned, "prune", Phase.FINETUNE, target, replicate, target, 0.86 + rise, pruned, epochs=epochs)
        yield Step(found, "search", Phase.RETRAIN, target, replicate, target, 0.85 - rise, epochs=epochs)
        yield Step(control, "scratch", Phase.RETRAIN, target, replicate, target, 0.83 + rise, epochs=epochs)
        for job, route, label, top1 in (
            (tuned, "prune", "prune", 0.855), (found, "search", "search", 0.85),
            (control, "scratch", "scratch_family", 0.825),
        ):  # fmt: skip
            yield Step(f"{job}-evaluate", route, Phase.EVALUATE, target, replicate, target, top1 + rise, job, label)


def _write_attempt(
    ledger: LedgerWriter, step: Step, begin_t: float, allocation: str, held: dict[str, float], heartbeats: int
) -> None:
    attempt = f"{step.job}#{step.n}"
    spec = {
        "job": step.job, "route": step.route, "phase": step.phase, "target": step.target, "replicate": step.replicate,
        "seed": 1243821155, "network": {
            "builder": "mobilenetv3", "arch_def": ARCH, "stem_size": 8, "num_features": 192, "head_bias": True,
            "drop_rate": 0.0, "drop_path_rate": 0.0, "in_chans": 1, "num_classes": 10,
        }, "network_macs": step.macs, "recipe": RECIPE, "init_from": step.init_from, "structure_from": None,
        "prune": {"scope": "global", "criterion": "magnitude", "method": "global_magnitude", "target_macs": step.target}
        if step.phase == Phase.PRUNE else None, "predicted": None, "computed_macs": step.macs, "is_smaller": False,
    }  # fmt: skip
    ledger.append(
        Kind.ATTEMPT_STARTED, t=begin_t, session=SESSION, attempt=attempt, job=step.job, route=step.route,
        phase=step.phase, target=step.target, replicate=step.replicate, allocation=allocation, devices=held,
        meter="wall_clock", network_macs=step.macs, spec=spec, heartbeat_s=2.0,
    )  # fmt: skip
    ledger.append(Kind.WORK_BEGUN, t=begin_t + 1, attempt=attempt, epoch=0)
    values, num_epochs = [], step.epochs // 2 if step.failed else step.epochs
    events = [(begin_t + 1 + (LENGTH_S - 6) * n / (step.epochs or 1), n) for n in range(1, num_epochs + 1)]
    last_t = begin_t + LENGTH_S / 2 if step.failed else begin_t + LENGTH_S - 5
    events += [(begin_t + 1 + (last_t - begin_t - 1) * n / heartbeats, 0) for n in range(1, heartbeats + 1)]
    for t, epoch in sorted(events):
        if not epoch:
            ledger.append(Kind.HEARTBEAT, t=t, attempt=attempt)
            continue
        values.append(round(step.accuracy * (1 - 0.5 / (1 + epoch)), 4))
        ledger.append(
            Kind.PROGRESS, t=t, attempt=attempt, epoch=epoch, num_epochs=step.epochs, train_loss=1.5 / epoch,
            val_top1=values[-1], checkpointed=True,
        )  # fmt: skip
    outcome = {
        "macs": step.macs, "dense_macs": step.macs, "params": step.macs // 8, "nonzero_params": step.macs // 8,
        "val_top1": values[-1] if values else step.accuracy, "epochs": step.epochs,
    }  # fmt: skip
    if step.label is not None:
        outcome |= {"label": step.label, "test_top1": step.accuracy, "from_job": step.init_from}
    ledger.append(
        Kind.ATTEMPT_ENDED, t=last_t if step.failed else begin_t + LENGTH_S, attempt=attempt,
        status="failed" if step.failed else "ok", reason="a lost node" if step.failed else None,
        outcome=None if step.failed else outcome, work_end_t=last_t if step.failed else begin_t + LENGTH_S - 5,
        measurement={"wall_s": LENGTH_S, "energy_j": None, "meter": "wall_clock", "flags": []},
    )  # fmt: skip


@contextmanager
def unsynced() -> Iterator[None]:
    """Turn off fsync, which a real ledger needs but which would make writing a large one slow."""
    kept = os.fsync
    os.fsync = lambda fd: None  # type: ignore[assignment]
    try:
        yield
    finally:
        os.fsync = kept
