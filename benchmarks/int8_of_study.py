"""Quantise a study's delivered networks again and test them: int8 minus float accuracy by target and kind of network.

This is for a study that was run before the quantisation changed; its folder is not changed. Both networks are evaluated
again on the test split. Adds rows to results/int8_of_study.csv: mean over replicates and 95 % t-interval of the paired
difference. The rows of 2026-11-25 are of torch.ao's FX graph mode, later ones of ONNX Runtime.

    python benchmarks/int8_of_study.py runs/pruning_methods [--targets 190000 ...]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from table import append, machine

from accounting.study.folder import StudyFolder
from harness.config.study import DatasetConfig
from harness.data.base import Splits
from harness.data.registry import open_dataset
from harness.delivery.int8 import int8_report
from harness.models.build import build_network, load_tensors
from harness.stored.study_file import stored_config
from harness.training.loop import evaluate
from pruning.resize import fit_to_state
from reports.statistics import mean_interval


def difference(folder: Path, splits: Splits) -> float:
    """Test top-1 of the int8 network minus that of the float network."""
    spec = json.loads((folder / "architecture.json").read_text())["network"]
    model = fit_to_state(build_network(spec), load_tensors(folder / "model.safetensors")).eval()
    with tempfile.TemporaryDirectory() as temporary:
        report = int8_report(model, splits, Path(temporary) / "model.int8.onnx")
    return float(report["test_top1"]) - evaluate(model, splits.test, splits.info.task, torch.device("cpu"))


def main() -> None:
    """Quantise and test the delivered networks, and add a row per target and kind of network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--targets", type=int, nargs="+", help="in MACs; default: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = stored_config(StudyFolder(options.study))
    dataset: DatasetConfig = config.dataset
    splits = open_dataset(dataset).splits()
    facts = machine("cpu", ("torch",)) | {"study": config.name}
    for target in options.targets or config.targets:
        for kind in sorted((options.study / "models" / str(target)).iterdir()):
            estimate = mean_interval([difference(folder, splits) for folder in sorted(kind.iterdir())])
            row = facts | {"target": target, "network": kind.name} | estimate.columns("int8_minus_float_test_top1")
            print(f"{target} {kind.name}: {100 * (estimate.value or 0):+.1f} points, n = {estimate.n}", flush=True)
            append(Path(__file__).parent / "results" / "int8_of_study.csv", [row])


if __name__ == "__main__":
    main()
