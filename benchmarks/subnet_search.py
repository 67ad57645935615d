"""Search on inherited weights: how well its score ranks networks, and which parents it works for.

``score`` trains one parent (fbnetv3_mini-l, Fashion-MNIST mini, 6 epochs), scores a number of its sub-networks without
training, and then fine-tunes them all in the same way. It reports the rank correlation (Kendall's tau-b, Spearman's
rho) of the score with the test accuracy after fine-tuning, each with a 95 % interval from 2,000 bootstrap resamples of
the sub-networks. There are two sets: all within 1 % below half of the parent's MACs (what a search for one target has
to rank), and spread over 15 to 85 % of them. For comparison: the score without new batch-norm statistics, and only
MACs.

``parents`` runs a whole study for each of six timm networks on small images: the parent is trained briefly, then
``prune`` by channels_magnitude and ``subnet_search`` bring it to 50 % of its MACs, in one replicate. The MACs of the
delivered networks are counted again from their folders. One replicate of such short trainings shows that it works, not
which is better. vit_tiny takes only images of 224 pixels.

    python benchmarks/subnet_search.py score
    python benchmarks/subnet_search.py parents --data FOLDER/cifar10_jpeg.npz [--parents NAME ...]
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr
from table import append, machine

from accounting.ledger.parts import macs_of
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.macs.count import count_macs
from accounting.study.folder import StudyFolder
from harness.config.recipe import Recipe
from harness.config.study import DatasetConfig, parse_config
from harness.console.progress import Silent
from harness.data.base import Splits
from harness.data.halves import HalfSplit
from harness.data.registry import open_dataset
from harness.errors import InputError
from harness.models.build import build_network
from harness.study import Launch, run_study
from harness.training.loop import Hooks, evaluate, recalibrate_batch_norm, seed_everything, train
from harness.training.resume import StateFiles
from nas_baseline.spaces.families import network_spec
from nas_baseline.spaces.subnets import SubnetSpace
from pruning.subnets import Subnets

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "timm", "torch-pruning")
CPU = torch.device("cpu")
RESAMPLES = 2000
PARENTS = (
    "resnet18",
    "mobilenetv3_large_100",
    "efficientnet_lite0",
    "fbnetv3_b",
    "convnext_atto",
    "vit_tiny_patch16_224",
)
SMALL = {"image_size": 32, "images": 600, "pretrain": 3, "finetune": 1, "trials": 16}
"""Size of a parent's study: ``images`` of CIFAR-10, a quarter of them for validation, and 500 for the test."""
LARGE = {"image_size": 224, "images": 160, "pretrain": 1, "finetune": 1, "trials": 8}
"""The same for vit_tiny, which takes only images of this size."""


def score(options: argparse.Namespace) -> None:
    """Score and fine-tune the sub-networks, and append to both tables of scores."""
    splits = open_dataset(DatasetConfig(name="fashion_mnist_mini", num_train=options.num_train)).splits()
    spec = network_spec("fbnetv3_mini", "l", 1, 10)
    recipe = Recipe(batch_size=64, optimizer="sgd", lr=0.3, weight_decay=1e-4, augment="none", epochs=6)
    seed_everything(options.seed, 0)
    parent = trained(build_network(spec), splits, recipe, options.seed)
    subnets = Subnets(parent, splits.info.image_shape)
    space = SubnetSpace("fbnetv3_mini-l", subnets.parts)
    head = machine("cpu", PACKAGES) | {
        "seed": options.seed, "num_train": len(splits.train),
        "parent_test_top1": evaluate(parent, splits.test, splits.info.task, CPU),
        "finetune_epochs": options.epochs,
    }  # fmt: skip
    for name, members in sets(space, options.num, options.seed).items():
        rows = []
        for number, member in enumerate(members):
            model = subnets.module(member)
            plain = evaluate(model, HalfSplit(splits.val, "first"), splits.info.task, CPU)
            seed_everything(options.seed, number)
            recalibrate_batch_norm(model, splits.train, 128, CPU)
            scored = evaluate(model, HalfSplit(splits.val, "first"), splits.info.task, CPU)
            tuned = trained(
                subnets.module(member), splits, recipe.model_copy(update={"epochs": options.epochs, "lr": 0.1}), number
            )
            rows.append(
                head
                | {
                    "set": name, "number": number, "macs": macs_of(subnets.parts, member), "score": scored,
                    "score_old_statistics": plain,
                    "finetuned_test_top1": evaluate(tuned, splits.test, splits.info.task, CPU),
                    "member": " ".join(map(str, member)),
                }
            )  # fmt: skip
            print(name, number, *(f"{rows[-1][k]:.3f}" for k in ("score", "finetuned_test_top1")), flush=True)
        append(RESULTS / "subnet_scores.csv", rows)
        final = np.array([row["finetuned_test_top1"] for row in rows])
        summary = [
            head | {"set": name, "by": by, "n": len(rows), **correlations(np.array([row[by] for row in rows]), final)}
            for by in ("score", "score_old_statistics", "macs")
        ]
        append(RESULTS / "subnet_score_tau.csv", summary)
        for row in summary:
            print({key: row[key] for key in ("set", "by", "n", "tau", "tau_low", "tau_high", "rho")}, flush=True)


def sets(space: SubnetSpace, num: int, seed: int) -> dict[str, list[tuple[int, ...]]]:
    """Two sets of up to ``num`` distinct members: with nearly the same MACs, and spread evenly over MACs."""
    rng = np.random.default_rng(seed)
    half, whole = space.max_macs() // 2, space.max_macs()
    drawn = [arch for arch in space.sample_batch(rng, 100 * num) if space.macs(arch) <= half]
    filled = dict.fromkeys(space.filled(arch, half) for arch in drawn[: 4 * num])
    spread: list[tuple[int, ...]] = []
    for low, high in zip(np.linspace(0.15, 0.85, num + 1)[:-1], np.linspace(0.15, 0.85, num + 1)[1:], strict=True):
        archs = space.sample_batch(rng, 400)
        inside = [arch for arch in archs if low * whole <= space.macs(arch) < high * whole]
        spread += [space.member(arch) for arch in inside[:1]]
    return {"half of the MACs": [m for m in filled if space.is_near(m, half)][:num], "15 to 85 % of the MACs": spread}


def correlations(by: np.ndarray, final: np.ndarray) -> dict[str, float]:
    """Rank correlations with percentile intervals of a bootstrap; a resample whose values are all equal counts as 0."""
    rng = np.random.default_rng(0)
    picks = [rng.integers(len(by), size=len(by)) for _ in range(RESAMPLES)]
    found = {}
    for name, measure in (("tau", kendalltau), ("rho", spearmanr)):
        again = np.nan_to_num([measure(by[pick], final[pick]).statistic for pick in picks])
        low, high = np.percentile(again, [2.5, 97.5])
        found |= {name: float(measure(by, final).statistic), f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def trained(model: torch.nn.Module, splits: Splits, recipe: Recipe, seed: int) -> torch.nn.Module:
    """The network, trained by the harness's own loop."""
    with tempfile.TemporaryDirectory() as folder:
        hooks = Hooks(lambda _done: None, lambda _epoch: None)
        return train(
            model,
            splits,
            recipe,
            seed=seed,
            device=CPU,
            masks={},
            files=StateFiles(Path(folder) / "resume"),
            hooks=hooks,
        ).model.eval()


def parents(options: argparse.Namespace) -> None:
    """Run the study of each parent and append its row."""
    for name in options.parents:
        how = LARGE if name.startswith("vit") else SMALL
        with tempfile.TemporaryDirectory() as folder:
            row = of_parent(name, how, options.data, Path(folder))
        append(RESULTS / "subnet_parents.csv", [machine("cpu", PACKAGES) | {"parent": name, **how, **row}])
        print({"parent": name, **row}, flush=True)


def of_parent(name: str, how: dict[str, int], data: Path, folder: Path) -> dict:
    """Run the study of one parent and return the columns of its row."""
    begin = time.perf_counter()
    row: dict = dict.fromkeys(
        ("outcome", "parent_macs", "target_macs", "macs", "recounted_macs", "share_of_target", "parent_val_top1",
         "best_score", "test_top1", "prune_test_top1", "seconds"), ""
    )  # fmt: skip
    try:
        config = parse_config(study_of(name, how, fewer(data, how["images"], folder / "few.npz")), "benchmark")
        run_study(config, folder / "study", Launch("inline"), Silent())
    except InputError as error:
        return row | {"outcome": f"refused: {error}", "seconds": round(time.perf_counter() - begin)}
    study = StudyFolder(folder / "study")
    (delivered,) = study.root.glob("models/*/subnet_search/0")
    (pruned,) = study.root.glob("models/*/prune/0")
    said, target = json.loads((delivered / "metrics.json").read_text()), int(delivered.parts[-3])
    recounted = count_macs(module_of(delivered), (3, how["image_size"], how["image_size"])).macs
    outcomes = {
        record["attempt"].partition("#")[0]: record["outcome"]
        for record in read_ledger(study.ledger).records
        if record["kind"] == Kind.ATTEMPT_ENDED
    }
    pretrain = outcomes["prune-r0-pretrain"]
    scores = [score for job, found in outcomes.items() if job.endswith("-finalists") for score in found["scores"]]
    is_near = 0.99 * target <= recounted <= target and recounted == said["macs"]
    return row | {
        "outcome": "delivered" if is_near else "MISSED",
        "parent_macs": pretrain["macs"],
        "target_macs": target,
        "macs": said["macs"],
        "recounted_macs": recounted,
        "share_of_target": round(recounted / target, 5),
        "parent_val_top1": pretrain["val_top1"],
        "best_score": max(scores),
        "test_top1": said["test_top1"],
        "prune_test_top1": json.loads((pruned / "metrics.json").read_text())["test_top1"],
        "seconds": round(time.perf_counter() - begin),
    }


def study_of(name: str, how: dict[str, int], data: Path) -> dict:
    """The config of a parent's study."""
    return {
        "name": "parts",
        "dataset": {"name": "npz_jpeg", "path": str(data), "image_size": how["image_size"], "val_fraction": 0.25},
        "parent": {"timm": name, "pretrain": {"epochs": how["pretrain"]}},
        "targets": ["50%"],
        "replicates": 1,
        "recipe": {"batch_size": 32, "optimizer": "adamw", "lr": 0.002, "augment": "none", "epochs": how["finetune"]},
        "routes": {
            "prune": {"criterion": "channels_magnitude", "finetune": {"lr": 0.001}},
            "subnet_search": {
                "strategy": {
                    "num_trials": how["trials"],
                    "options": {"first_batch": how["trials"] // 2, "batch": how["trials"] // 4},
                },
                "finetune": {"lr": 0.001},
            },
        },
        "resources": {"device": "cpu"},
    }


def fewer(data: Path, images: int, path: Path, num_test: int = 500) -> Path:
    """Write the first images of an npz file of JPEGs to ``path``, and return it."""
    whole, kept = np.load(data), {}
    for part, count in (("train", images), ("test", num_test)):
        offsets = whole[f"{part}_offsets"][: count + 1]
        kept |= {
            f"{part}_bytes": whole[f"{part}_bytes"][: offsets[-1]],
            f"{part}_offsets": offsets,
            f"{part}_labels": whole[f"{part}_labels"][:count],
        }
    np.savez(path, **kept)
    return path


def module_of(folder: Path) -> torch.nn.Module:
    """The network that a delivered folder's own ``model.py`` builds."""
    spec = importlib.util.spec_from_file_location("delivered", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build()


def main(given: Sequence[str] | None = None) -> None:
    """Run ``score`` or ``parents``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    scoring = commands.add_parser("score")
    scoring.add_argument("--num", type=int, default=24, help="sub-networks of each set")
    scoring.add_argument("--num-train", type=int, default=2000)
    scoring.add_argument("--epochs", type=int, default=2, help="of fine-tuning each")
    scoring.add_argument("--seed", type=int, default=0)
    of_parents = commands.add_parser("parents")
    of_parents.add_argument("--data", type=Path, required=True)
    of_parents.add_argument("--parents", nargs="+", default=list(PARENTS), choices=PARENTS)
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    {"score": score, "parents": parents}[options.command](copy.copy(options))


if __name__ == "__main__":
    main()
