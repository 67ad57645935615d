"""Rehearse studies on a folder of real JPEGs laid out like ImageNet: whether all routes deliver, and how soon.

The folder is made from CIFAR-10's pictures (docs/datasets.md), drawn at ImageNet's sizes:
``train/<wnid>/<wnid>_<n>.JPEG`` and ``val/<wnid>/…``. Most are in colour; as in ImageNet, some are grey, one is CMYK,
and one is a PNG named as a JPEG. Random weights replace published ones that are not available, and the study says so. A
row per study is appended to ``results/rehearse_imagenet.jsonl``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from accounting.cost.shares import ledger_h
from accounting.ledger.records import Phase, Status
from accounting.words.quantities import macs_text
from harness.config.study import load_configs
from reports.data.frames import load_frames

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results") / "rehearse_imagenet.jsonl"
SIDES = (180, 320)
"""Range of width and height in pixels; both are drawn uniformly for each picture."""
WNIDS = (
    "n02690373", "n02701002", "n01530575", "n02123045", "n02422106", "n02085620", "n01641577", "n02389026", "n03095699",
    "n04461696",
)  # fmt: skip
"""An ImageNet synset for each class of CIFAR-10."""


def make_folder(source: Path, folder: Path, num_train: int, num_val: int) -> None:
    """Write ``num_train`` training and ``num_val`` validation pictures of each class."""
    rng = np.random.default_rng(0)
    with np.load(source, allow_pickle=False) as data:
        for part, split, count in (("train", "train", num_train), ("val", "test", num_val)):
            content, offsets, labels = (data[f"{split}_{what}"] for what in ("bytes", "offsets", "labels"))
            for label, wnid in enumerate(WNIDS):
                place = folder / part / wnid
                place.mkdir(parents=True)
                for number, index in enumerate(np.flatnonzero(labels == label)[:count]):
                    image = Image.open(io.BytesIO(content[offsets[index] : offsets[index + 1]].tobytes()))
                    size = tuple(int(side) for side in rng.integers(*SIDES, size=2))
                    path = place / f"{wnid}_{number}.JPEG"
                    _written(image.resize(size, Image.Resampling.BICUBIC), path, number, label)


def _written(image: Image.Image, path: Path, number: int, label: int) -> None:
    """Save a picture: every tenth in grey, and of the first class the second in CMYK and the third as a PNG."""
    if number % 10 == 0:
        image = image.convert("L")
    if label == 0 and number == 1:
        image = image.convert("CMYK")
    image.save(path, "PNG" if label == 0 and number == 2 else "JPEG")


def rehearse(config: Path, name: str, images: Path, folder: Path, settings: list[str]) -> dict[str, object]:
    """Run one study of a config and return its row."""
    command = [
        sys.executable, "-m", "harness.cli", "run", str(config), "--rehearse", "--out", str(folder), "-q",
        *(word for one in (f"dataset.path={images}", *settings) for word in ("--set", one)),
    ]  # fmt: skip
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    wall_s = time.perf_counter() - begin
    row: dict[str, object] = {
        "t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "study": name, "exit_code": done.returncode, "wall_s": round(wall_s, 1),
        "said": done.stdout.strip().splitlines()[:1],
        "errors": done.stderr.strip().splitlines()[-3:], "machine": platform.machine(),
        "num_cores": len(os.sched_getaffinity(0)), "load_1min": round(os.getloadavg()[0], 2),
        "versions": {package: version(package) for package in ("torch", "timm", "ray", "pillow")},
    }  # fmt: skip
    if (folder / "study.yaml").exists():
        frames = load_frames(folder)
        row |= {
            "jobs": dict(Counter(str(job.status) for job in frames.view.jobs)),
            "phases": dict(Counter(str(job.phase) for job in frames.view.jobs if job.status is Status.OK)),
            "evaluated": sum(job.phase == Phase.EVALUATE for job in frames.view.jobs),
            "delivered": dict(Counter(network.label for network in frames.delivered)),
            "targets": [macs_text(target) for target in frames.info.targets],
            "hours": {kind: round(hours, 4) for kind, hours in ledger_h(frames.view).items()},
            "changes": {change["key"]: [change["old"], change["new"]] for change in frames.info.rehearsal or ()},
        }
    return row


def main() -> None:
    """Make the folder, rehearse each study of the config, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, nargs="?", default=ROOT / "studies" / "fbnetv3_imagenet.yaml")
    parser.add_argument("--source", type=Path, default=ROOT.parent / "shared" / "data" / "cifar10_jpeg.npz")
    parser.add_argument("--work", type=Path, help="a folder to keep what was made; a temporary one unless given")
    parser.add_argument("--only", help="the name of one study")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as for run; repeatable")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        images = work / "imagenet"
        if not images.exists():
            make_folder(given.source, images, num_train=40, num_val=10)
        names = [study.name for study in load_configs(given.config)]
        text = given.config.read_text(encoding="utf-8").split("\n---\n")
        for name, document in zip(names, text, strict=True):
            if given.only not in (None, name):
                continue
            single = work / f"{name}.yaml"
            single.write_text(document, encoding="utf-8")
            row = rehearse(single, name, images, work / "runs" / name, given.settings)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            sys.stdout.write(f"{json.dumps(row)}\n")


if __name__ == "__main__":
    main()
