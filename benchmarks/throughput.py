"""Images per second of this package's trainer beside timm's own training script, in turn, on the same images.

usage: python benchmarks/throughput.py --timm-script TRAIN.PY [--device cuda] [--side 64] [--images FOLDER] [--compile]
           [--row]

timm's wheel has no ``train.py``; ``--timm-script`` is a copy of it, from its repository. Each run is a new process, ours
and timm's in turn, ``--repeats`` times. Ours is ``harness.training.loop.train`` on ``image_folder``; timm's reads the
same files through links. Both train the same timm network with SGD and Nesterov momentum, a cosine schedule and label
smoothing, by the same random crops, flips and colours of timm's. Neither has mixed precision on the CPU; on CUDA both
have bf16. Images are Fashion-MNIST's, enlarged to ``--side`` and saved as JPEG, or those of ``--images`` (with ``train/``
and ``val/``, as ImageNet is laid out).

What is timed: every epoch but the first, from asking for its first batch to the end of its last update. So the
validation is left out of both, and so is what is saved after an epoch (timm's is told that there is no validation; our
splits are wrapped, with one image held out). timm's rate is what its log says at the end of an epoch.

What differs: our trainer lays weights and images out as channels-last, which timm's does if told
(``--also-channels-last`` measures that too); on CUDA, timm's script lets cuDNN try its
algorithms and products use TF32. With ``--compile``, ours is run with ``recipe.compile`` too, and timm's with
``--torchcompile`` (inductor); ours compiles before the first epoch, timm's in it, so neither is in the rates. How long
ours took is in the row (``compile_s``). The row has the ratio of each pair of runs. Exits 1 if the ratio of the medians is
below ``LEAST``. ``--row`` appends the row to benchmarks/results/throughput.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from table import machine

from harness.config.recipe import Recipe
from harness.config.study import DatasetConfig
from harness.data.base import Batches, Split, Splits
from harness.data.image_folder import Dataset
from harness.errors import InputError
from harness.training.loop import Hooks, train
from harness.training.resume import StateFiles

RESULTS = Path(__file__).with_name("results") / "throughput.jsonl"
FASHION = Path(__file__).parents[1] / "harness" / "data" / "fashion_mnist_mini.npz"
LEAST = 1.2
LR, MOMENTUM, WEIGHT_DECAY, SMOOTHING = 0.02, 0.9, 1e-4, 0.1
SEED = 0
SMALL_SCALE, SCALE = (0.6, 1.0), (0.08, 1.0)
"""Shares of an image that our ``light`` augmentation crops: of sides below 128 pixels, and of others."""
END_OF_EPOCH = re.compile(r"Train: (\d+) \[ *(\d+)/(\d+) \(100%\)\].*\([\d.]+s, +([\d.]+)/s\)")
"""In timm's log: epoch, number of the update from 0, updates, and images a second on average over the epoch so far."""


def make_folder(folder: Path, side: int, num_images: int) -> None:
    """Save images of Fashion-MNIST as JPEG: ``num_images`` and one to train on, and ten to test on."""
    with np.load(FASHION) as data:
        for part, split, count in (("train", "train", num_images + 1), ("val", "test", 10)):
            images, labels = data[f"{split}_images"], data[f"{split}_labels"]
            if count > len(labels):
                raise SystemExit(f"--num-images: {FASHION.name} has {len(labels) - 1:,}; give --images for more")
            for number in range(count):
                place = folder / part / f"class{labels[number]}"
                place.mkdir(parents=True, exist_ok=True)
                image = Image.fromarray(images[number].reshape(28, 28)).convert("RGB")
                image.resize((side, side), Image.Resampling.BICUBIC).save(place / f"{number}.jpg", quality=90)


def splits_of(options: argparse.Namespace, folder: Path) -> Splits:
    """The images of a folder, of which as few as possible are held out of training: one."""
    config = DatasetConfig(
        name="image_folder", path=str(folder), image_size=options.side, num_train=options.num_images + 1,
        val_fraction=1e-9, num_workers=options.workers,
    )  # fmt: skip
    try:
        return Dataset(config).splits()
    except InputError as error:
        raise SystemExit(str(error)) from None


def link_images(splits: Splits, root: Path, folder: Path) -> None:
    """Make links to the images of our training split, in a folder for timm's script."""
    data = splits.train.open_dataset(None)  # type: ignore[attr-defined]
    for index in splits.train.indices:  # type: ignore[attr-defined]
        path = Path(data.path(index))
        place = folder / "train" / path.relative_to(root / "train").parts[0]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index}{path.suffix}").symlink_to(path.resolve())


@dataclass
class Timed:
    """A split that notes, for each pass over it, how many images it gave and in how many seconds they were used."""

    split: Split
    passes: list[tuple[int, float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, batch_size: int, device: torch.device, *, augment: str | None) -> Batches:
        """The split's batches; the clock stops when one more than the last is asked for, before the loader ends."""
        count, num_batches = 0, len(self) // batch_size
        begin_s = time.perf_counter()
        for number, (images, labels) in enumerate(self.split.batches(batch_size, device, augment=augment), 1):
            count += len(labels)
            yield images, labels
            if number == num_batches:
                if device.type == "cuda":
                    torch.cuda.synchronize()
                self.passes.append((count, time.perf_counter() - begin_s))


def our_run(options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Train in this process, and return the images per second and the seconds before the first epoch."""
    torch.set_num_threads(options.threads)
    begin_s, begun_s = time.perf_counter(), []
    splits = splits_of(options, folder)
    timed = Timed(splits.train)
    recipe = Recipe(
        epochs=options.epochs, batch_size=options.batch, optimizer="sgd", lr=LR, momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY, warmup_epochs=0, label_smoothing=SMOOTHING, augment="light",
        compile=options.compiled,
    )  # fmt: skip
    torch.manual_seed(SEED)
    model = timm.create_model(options.network, num_classes=splits.info.num_classes)
    with tempfile.TemporaryDirectory() as kept:
        train(
            model, Splits(splits.info, timed, splits.val, splits.test), recipe, seed=SEED,
            device=torch.device(options.device), masks={}, files=StateFiles(Path(kept) / "resume.pt"),
            hooks=Hooks(lambda epoch: begun_s.append(time.perf_counter()), lambda epoch: None),
        )  # fmt: skip
    # The last pass, which may be cut short, sets the statistics of batch norm and is no epoch.
    epochs = timed.passes[1 : options.epochs]
    return sum(count for count, _ in epochs) / sum(seconds for _, seconds in epochs), begun_s[0] - begin_s


def ours(folder: Path, words: Sequence[str] = ()) -> tuple[float, float]:
    """Images per second of our trainer, in a new process, which has the same options as this one; seconds before that."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one-run", str(folder), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"our training ended with exit code {done.returncode}")
    rate, before_s = map(float, done.stdout.split()[-2:])
    return rate, before_s


def timms(options: argparse.Namespace, folder: Path, splits: Splits, words: Sequence[str] = ()) -> float:
    """Images per second of timm's script, by its log."""
    info = splits.info
    scale = SMALL_SCALE if options.side < 128 else SCALE
    with tempfile.TemporaryDirectory() as kept:
        settings = {
            "data-dir": [folder], "train-split": ["train"], "val-split": [""], "output": [kept], "experiment": ["run"],
            "model": [options.network], "num-classes": [info.num_classes], "input-size": info.image_shape,
            "mean": info.mean, "std": info.std, "train-interpolation": [info.interpolation], "scale": scale,
            "batch-size": [options.batch], "workers": [options.workers], "device": [options.device],
            "opt": ["sgd"], "lr": [LR], "momentum": [MOMENTUM], "weight-decay": [WEIGHT_DECAY],
            "smoothing": [SMOOTHING], "sched": ["cosine"], "epochs": [options.epochs], "warmup-epochs": [0],
            "seed": [SEED], "log-interval": [10**9], "checkpoint-hist": [1],
        }  # fmt: skip
        command = [sys.executable, str(options.timm_script.resolve()), "--sched-on-updates", *words]
        command += [str(word) for name, values in settings.items() for word in (f"--{name}", *values)]
        if options.device == "cuda":
            command += ["--amp", "--amp-dtype", "bfloat16", "--pin-mem"]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=kept
        )
    num_updates = len(splits.train) // options.batch
    ends = END_OF_EPOCH.findall(done.stdout)
    rates = {int(epoch): float(rate) for epoch, _, updates, rate in ends if int(updates) == num_updates}
    if done.returncode or sorted(rates) != list(range(options.epochs)):
        raise SystemExit(
            f"timm's script ended with exit code {done.returncode}; {options.epochs} epochs of {num_updates} updates "
            f"expected, {len(rates)} logged. Its last lines:\n" + "\n".join(done.stdout.splitlines()[-15:])
        )
    return statistics.harmonic_mean([rate for epoch, rate in rates.items() if epoch > 0])


def spread(values: Sequence[float], digits: int) -> dict[str, float]:
    """Median, least and greatest."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def measured(options: argparse.Namespace) -> dict[str, object]:
    """Run all in turn, and return the row."""
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads)}
    load_1min = os.getloadavg()[0]
    ways: dict[str, Sequence[str]] = {"timm": ()}
    if options.also_channels_last:
        ways["timm_channels_last"] = ("--channels-last",)
    if options.compile:
        ways["timm_compiled"] = ("--torchcompile", "inductor")
        if options.also_channels_last:
            ways["timm_compiled_channels_last"] = ("--torchcompile", "inductor", "--channels-last")
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = options.images.resolve() if options.images else work / "images"
        if options.images is None:
            make_folder(folder, options.side, options.num_images)
        splits = splits_of(options, folder)
        link_images(splits, folder, work / "linked")
        own: dict[str, Sequence[str]] = {"ours": (), **({"ours_compiled": ("--compiled",)} if options.compile else {})}
        rates: dict[str, list[float]] = {way: [] for way in (*own, *ways)}
        before_s: dict[str, list[float]] = {way: [] for way in own}
        for number in range(options.repeats):
            for way, words in own.items():
                for values, value in zip((rates[way], before_s[way]), ours(folder, words), strict=True):
                    values.append(value)
            for way, words in ways.items():
                rates[way].append(timms(options, work / "linked", splits, words))
            said = ", ".join(f"{way} {of[-1]:.1f} images/s" for way, of in rates.items())
            print(f"run {number + 1}: {said}", flush=True)
    row: dict[str, object] = {
        **machine(options.device, ["torch", "timm", "torchvision", "pillow"]),
        "cores": len(os.sched_getaffinity(0)), "load_1min": round(load_1min, 1),
        "timm_script_sha256": hashlib.sha256(options.timm_script.read_bytes()).hexdigest()[:16],
        "device": options.device, "amp": "bf16" if options.device == "cuda" else "off",
        "network": options.network, "side": options.side, "batch": options.batch, "threads": options.threads,
        "workers": options.workers, "images": "given" if options.images else "fashion_mnist_mini, JPEG",
        "num_images": len(splits.train), "epochs": options.epochs, "n": options.repeats,
        "images_per_s": {way: [round(rate, 2) for rate in of] for way, of in rates.items()},
        "images_per_s_median": {way: round(statistics.median(of), 2) for way, of in rates.items()},
    }  # fmt: skip
    for way in ways:
        row[f"ratio_to_{way}"] = ratio(rates["ours"], rates[way])
    if options.compile:
        row["compile_s"] = spread(
            [on - off for on, off in zip(before_s["ours_compiled"], before_s["ours"], strict=True)], 1
        )
        row["compiled_ratio_to_ours"] = ratio(rates["ours_compiled"], rates["ours"])
        for way in ways:
            if way.startswith("timm_compiled"):
                row[f"compiled_ratio_to_{way}"] = ratio(rates["ours_compiled"], rates[way])
    return row


def ratio(our: Sequence[float], their: Sequence[float]) -> dict[str, float]:
    """Our rates by theirs: of the medians, and of pairs of runs."""
    pairs = [mine / other for mine, other in zip(our, their, strict=True)]
    return {
        "of_medians": round(statistics.median(our) / statistics.median(their), 3),
        **{f"pairs_{name}": value for name, value in spread(pairs, 3).items()},
    }


def main() -> None:
    """Print the row, and append it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm-script", type=Path, required=True, help="a copy of timm's train.py")
    parser.add_argument("--images", type=Path, help="a folder with train/ and val/, each with a folder per class")
    parser.add_argument("--num-images", type=int, default=2048, help="to train on in an epoch")
    parser.add_argument("--network", default="mobilenetv3_small_100")
    parser.add_argument("--side", type=int, default=64, help="of the images, in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1, help="of torch, in the training process")
    parser.add_argument("--workers", type=int, default=1, help="processes that load images; 0: the training process")
    parser.add_argument("--epochs", type=int, default=3, help="of each run; the first is not counted")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--also-channels-last", action="store_true", help="also run timm's script with --channels-last")
    parser.add_argument("--compile", action="store_true", help="also run ours and timm's script with torch.compile")
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one-run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--row", action="store_true", help=f"append the row to {RESULTS.name}")
    options = parser.parse_args()
    if options.epochs < 2 or options.num_images < options.batch:
        parser.error("needs two epochs or more, and at least one batch of images")
    if not options.timm_script.is_file():
        parser.error(f"--timm-script: no file {options.timm_script}")
    if options.one_run:
        print(*our_run(options, options.one_run))
        return
    row = measured(options)
    line = json.dumps(row)
    print(line)
    if options.row:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    ratio = row["ratio_to_timm"]["of_medians"]  # type: ignore[index]
    print(f"{ratio:.2f} times timm's script; the bar is {LEAST}")
    sys.exit(0 if ratio >= LEAST else 1)


if __name__ == "__main__":
    main()
