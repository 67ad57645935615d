"""Images per second of a training shared by several workers, against one worker on one core, on this machine.

This package's trainer trains a timm network on images of noise, one epoch after another. Workers have one thread each
and communicate over gloo (with ``--device cuda``, one GPU each and NCCL). With ``--torch-ddp``, torch's
``DistributedDataParallel``, whose sums overlap the backward pass, is also measured, in a plain loop of the same passes
and updates, next to that loop with our averaging.

    python benchmarks/ddp.py [--network mobilenetv3_small_100] [--size 96] [--batch 64] [--workers 1 2] [--rounds 5]
        [--no-sync-batch-norm] [--torch-ddp] [--device cuda] [--out FILE.jsonl]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import timm
import torch
from table import machine
from torch import nn

from harness.config.recipe import Recipe
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.training.loop import Hooks, on_device, train
from harness.training.resume import StateFiles
from harness.training.synced_norm import synced_norm
from harness.training.workers import ALONE, Crew, average_gradients, joined, training_batches

CLASSES = 10


def splits_of(num_images: int, size: int) -> Splits:
    """Noise images: ``num_images`` to train on and two to evaluate."""
    info = DataInfo((3, size, size), CLASSES, (0.5,) * 3, (0.25,) * 3, num_images)
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> TensorSplit:
        images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
        return TensorSplit(images, torch.arange(count) % CLASSES, info)

    few = part(2)
    return Splits(info, part(num_images), few, few)


def by_trainer(options: argparse.Namespace, splits: Splits, crew: Crew, device: torch.device) -> list[float]:
    """Seconds per epoch of ``train``, without the first and last epochs."""
    torch.manual_seed(0)
    model = timm.create_model(options.network, num_classes=CLASSES)
    recipe = Recipe(
        epochs=options.rounds + 2,
        batch_size=options.batch,
        augment="none",
        sync_batch_norm=not options.no_sync_batch_norm,
    )
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            model, splits, recipe, seed=0, device=device, masks={}, files=StateFiles(Path(folder) / "resume.pt"),
            hooks=Hooks(lambda epoch: None, lambda epoch: times.append(time.perf_counter())), crew=crew,
        )  # fmt: skip
    # The last epoch is left out because it also recalibrates batch norm.
    return [later - earlier for earlier, later in pairwise(times[:-1])]


def by_loop(
    options: argparse.Namespace, splits: Splits, crew: Crew, device: torch.device, is_torchs: bool
) -> list[float]:
    """Seconds per epoch of a plain loop, without the first; torch's wrapper or our function averages the gradients."""
    torch.manual_seed(0)
    model = on_device(timm.create_model(options.network, num_classes=CLASSES), device).train()
    shared: nn.Module = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False) if is_torchs else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    times = []
    for _ in range(options.rounds + 1):
        begin = time.perf_counter()
        with synced_norm(crew, not options.no_sync_batch_norm):
            for images, labels in training_batches(splits.train, options.batch, device, "none", crew):
                optimizer.zero_grad(set_to_none=True)
                images = images.contiguous(memory_format=torch.channels_last)
                nn.functional.cross_entropy(shared(images), labels).backward()
                if not is_torchs:
                    average_gradients(model, 1.0, crew)
                optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return times[1:]


def worker(
    rank: int, size: int, store: Path, options: argparse.Namespace, work: Callable[..., list[float]], answers: object
) -> None:
    """Run one of the workers; the first one puts its seconds per epoch into ``answers``."""
    torch.set_num_threads(1)
    device = torch.device("cuda", rank) if options.device == "cuda" else torch.device("cpu")
    splits = splits_of(options.batch * options.steps, options.size)
    if size == 1:
        times = work(options, splits, ALONE, device)
    else:
        with joined(rank, size, store, device) as crew:
            times = work(options, splits, crew, device)
    if rank == 0:
        answers.put(times)


def torch_loop(options: argparse.Namespace, splits: Splits, crew: Crew, device: torch.device) -> list[float]:
    """Run the plain loop with torch's wrapper, if there are several workers."""
    return by_loop(options, splits, crew, device, crew.size > 1)


def our_loop(options: argparse.Namespace, splits: Splits, crew: Crew, device: torch.device) -> list[float]:
    """Run the plain loop with our averaging."""
    return by_loop(options, splits, crew, device, False)


def measured(size: int, options: argparse.Namespace, work: Callable[..., list[float]]) -> list[float]:
    """Seconds of each timed epoch with ``size`` workers, as the first one measures them."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        workers = [
            context.Process(target=worker, args=(rank, size, store, options, work, answers)) for rank in range(size)
        ]
        for process in workers:
            process.start()
        times: list[float] = answers.get(timeout=3600)
        for process in workers:
            process.join()
    return times


def main() -> None:
    """Print a row for each way and number of workers, and append it to ``--out`` if given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenetv3_small_100")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="batches an epoch")
    parser.add_argument("--rounds", type=int, default=5, help="epochs that are timed")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--no-sync-batch-norm", action="store_true")
    parser.add_argument("--torch-ddp", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ways = {"trainer": by_trainer} | ({"loop": our_loop, "loop, torch's DDP": torch_loop} if options.torch_ddp else {})
    for way, work in ways.items():
        for size in options.workers:
            times = measured(size, options, work)
            rates = [options.batch * options.steps / seconds for seconds in times]
            row = {
                **machine(options.device, ["torch", "timm"]),
                "way": way,
                "network": options.network,
                "size": options.size,
                "batch": options.batch,
                "device": options.device,
                "sync_batch_norm": not options.no_sync_batch_norm,
                "num_workers": size,
                "n": len(rates),
                "images_per_s_median": round(statistics.median(rates), 2),
                "images_per_s_min": round(min(rates), 2),
                "images_per_s_max": round(max(rates), 2),
            }
            print(json.dumps(row))
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
