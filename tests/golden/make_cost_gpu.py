"""Make ``cost_gpu``: a made-up study on one GPU with an energy counter, for docs/cost_report.md and its test.

Nothing in it was measured. It can be worked out by hand: an hour of pretraining at 300 W, half an hour of fine-tuning
at 240 W, six minutes of evaluation whose counter was reset, and twelve minutes in which the session held the GPU idle.
"""

from __future__ import annotations

import sys
from pathlib import Path

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter
from accounting.study.facts import StudyDocument

BEGIN = 1_795_600_000.0
GPU = "GPU-00000000-0000-0000-0000-000000000001"
JOBS = (("pretrain", None, 3600, 300), ("finetune", 500_000, 1800, 240), ("evaluate", 500_000, 360, None))


def main(folder: Path) -> None:
    """Write the study into a folder that does not exist yet."""
    folder.mkdir(parents=True)
    capacity = [
        {"device": GPU, "device_kind": "cuda", "amount": 1.0, "name": "NVIDIA H100 80GB HBM3", "node": "node-1"}
    ]
    now = BEGIN
    with LedgerWriter(folder / "ledger", "s1", "driver", clock=lambda: BEGIN) as ledger:
        ledger.append(
            Kind.SESSION_OPENED, t=now, session="s1", study="cost_gpu", capacity=capacity, environment={}, owner="lena",
            labels={"team": "vision"},
        )  # fmt: skip
        for phase, target, seconds, watts in JOBS:
            name = f"prune-r0-{phase}"
            ledger.append(
                Kind.ATTEMPT_STARTED, t=now, session="s1", attempt=f"{name}#1", job=name, route="prune", phase=phase,
                target=target, replicate=0, allocation=None, devices={GPU: 1.0}, meter="nvml",
                network_macs=1_000_000, spec={},
            )  # fmt: skip
            ledger.append(Kind.WORK_BEGUN, t=now + 12, attempt=f"{name}#1", epoch=0)
            now += seconds
            joules = None if watts is None else float(watts * seconds)
            flags = ["energy_reset"] if watts is None else []
            measurement = {"wall_s": seconds, "energy_j": joules, "meter": "nvml", "flags": flags}
            ledger.append(
                Kind.ATTEMPT_ENDED, t=now, attempt=f"{name}#1", status="ok", reason=None, outcome={}, work_end_t=now - 4,
                measurement=measurement,
            )  # fmt: skip
        ledger.append(Kind.SESSION_CLOSED, t=now + 720, session="s1", reason="done")
    config = {"name": "cost_gpu", "dataset": {"name": "fashion_mnist_mini"}, "targets": [500_000], "replicates": 1,
              "routes": {"prune": {}}}  # fmt: skip
    (folder / "study.yaml").write_text(StudyDocument(config, {"environment": {}}).text(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
