"""Successive halving of a search's candidates on a table of real learning curves.

``table`` trains candidates of fbnetv3_mini within 0.57M MACs, drawn as random search draws them, for 9 epochs each on
Fashion-MNIST mini (2,000 images), each with its own recipe and several seeds. It records validation accuracy after
every epoch and test accuracy at the end. A candidate that continues has at an early rung the values of the whole
training, so the curves show what halving sees.

``compare`` runs searches among the table's candidates, each trained with a seed drawn at random: to the end, to the
early epoch that the first batch determines, or from rung to rung. Regret is the mean test accuracy (over seeds) of the
table's best network minus that of the delivered one, in points, with a 95 % interval over repeats, and paired by repeat
with the same number of candidates trained to the end (``minus_whole``). Cost is the number of epochs of the candidates.
Repeats 0-99, on the first seed's curves, were used to choose how a stopped candidate is valued; the rows are from other
repeats.

    python benchmarks/halving.py table --num 100 --seeds 0 1
    python benchmarks/halving.py compare
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table import append, machine

from harness.config.halving import Halving
from harness.config.recipe import Recipe, RecipeOverride
from harness.config.study import DatasetConfig
from harness.data.registry import open_dataset
from harness.models.build import build_network, with_regularisation
from harness.routes.search import RECIPE_FIELD
from harness.training.loop import Hooks, evaluate, seed_everything, train
from harness.training.resume import StateFiles
from nas_baseline.proposing.early_stop import choose_early_stop
from nas_baseline.proposing.pool import constrained_pool
from nas_baseline.proposing.proposals import Done, Proposal
from nas_baseline.proposing.rungs import Rungs
from nas_baseline.spaces import load_space
from nas_baseline.spaces.base import Arch, Dimension, DiscreteSpace, Floats, Ints
from nas_baseline.strategies import make_strategy

RESULTS = Path(__file__).parent / "results"
CURVES, COMPARED = RESULTS / "halving_curves.csv", RESULTS / "halving.csv"
PACKAGES = ("torch", "timm", "numpy")
CPU = torch.device("cpu")
SPACE, LIMIT = "fbnetv3_mini", 570_000
EPOCHS, NUM_TRAIN = 9, 2000
BASE = Recipe(batch_size=64, optimizer="sgd", lr=0.3, weight_decay=1e-4, augment="none", epochs=EPOCHS)
"""The quickstart's recipe; each candidate's own choices override it."""


def make_table(options: argparse.Namespace) -> None:
    """Train each candidate with each seed, and append a row per training."""
    torch.set_num_threads(1)
    splits = open_dataset(DatasetConfig(name="fashion_mnist_mini", num_train=NUM_TRAIN)).splits()
    space = load_space(SPACE, 1, 10, 28)
    archs = constrained_pool(space, LIMIT, options.num, seed=0)
    for seed in options.seeds:
        for number, arch in enumerate(archs):
            own = {RECIPE_FIELD.get(key, key): value for key, value in space.recipe(arch).items()}
            recipe = RecipeOverride.model_validate(own).over(BASE)
            seed_everything(seed, 0)
            spec = with_regularisation(
                space.network_spec(arch, 1, 10),
                {"drop_rate": recipe.drop_rate, "drop_path_rate": recipe.drop_path_rate},
            )
            begin = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                trained = train(
                    build_network(spec), splits, recipe, seed=seed, device=CPU, masks={},
                    files=StateFiles(Path(folder) / "resume.pt"), hooks=Hooks(lambda _: None, lambda _: None),
                )  # fmt: skip
            seconds = time.perf_counter() - begin
            row = machine("cpu", PACKAGES) | {
                "seed": seed, "number": number, "num_train": len(splits.train), "arch": " ".join(map(str, arch)),
                "macs": space.macs(arch), "seconds": f"{seconds:.1f}",
                "test_top1": evaluate(trained.model, splits.test, splits.info.task, CPU),
            }  # fmt: skip
            append(CURVES, [row | {f"val_{i}": value for i, value in enumerate(trained.val_curve, 1)}])


class TableSpace(DiscreteSpace):
    """A space whose only choice is one of the table's candidates; a predictor sees the features of the full space."""

    def __init__(self, archs: Sequence[Arch]) -> None:
        super().__init__("halving_curves", [Dimension("candidate", tuple(range(len(archs))))])
        self._archs, self._whole = archs, load_space(SPACE, 1, 10, 28)

    @property
    def recipe_mask(self) -> Any:
        """Which features belong to the recipe."""
        return self._whole.recipe_mask

    def macs_batch(self, archs: Sequence[Arch]) -> Ints:
        """MACs of candidates."""
        return self._whole.macs_batch(self._of(archs))

    def params_batch(self, archs: Sequence[Arch]) -> Ints:
        """Number of weights of candidates."""
        return self._whole.params_batch(self._of(archs))

    def encode_batch(self, archs: Sequence[Arch]) -> Floats:
        """Features of candidates."""
        return self._whole.encode_batch(self._of(archs))

    def _of(self, archs: Sequence[Arch]) -> list[Arch]:
        return [self._archs[int(arch[0])] for arch in archs]


@dataclass(frozen=True)
class Table:
    """Validation curves, shape [candidates, seeds, epochs], and mean test accuracy, shape [candidates]."""

    space: TableSpace
    curves: Floats
    test: Floats

    @staticmethod
    def read() -> Table:
        """Read the candidates that were trained with every seed."""
        with CURVES.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        by_seed = {seed: [row for row in rows if row["seed"] == seed] for seed in {row["seed"] for row in rows}}
        num = min(map(len, by_seed.values()))
        chosen = [sorted(of_seed, key=lambda row: int(row["number"]))[:num] for of_seed in by_seed.values()]
        curves = [[[float(row[f"val_{e}"]) for e in range(1, EPOCHS + 1)] for row in of_seed] for of_seed in chosen]
        test = [[float(row["test_top1"]) for row in of_seed] for of_seed in chosen]
        archs = [tuple(map(int, row["arch"].split())) for row in chosen[0]]
        return Table(TableSpace(archs), np.array(curves).swapaxes(0, 1), np.array(test).mean(0))


def search_once(table: Table, strategy: str, num_trials: int, stop: Halving | bool, seed: int) -> tuple[float, int]:
    """Regret of the network that a search delivers (fraction of test accuracy), and the candidate epochs that it took.

    ``stop`` gives the rungs, or says whether later candidates stop at the early epoch that the first batch determines.
    The finalists are retrained, each with a seed drawn at random, and the best on validation is delivered.
    """
    rng = np.random.default_rng([seed, 5])
    searcher = make_strategy(strategy, table.space, seed=seed, num_trials=num_trials, max_macs=None)
    ends = stop.ends(EPOCHS) if isinstance(stop, Halving) else (EPOCHS,)
    rungs = Rungs(len(ends), stop.eta if isinstance(stop, Halving) else 2)
    curves: dict[int, Floats] = {}
    told: dict[int, float | None] = {}
    epochs, last = 0, EPOCHS
    while not isinstance(answer := searcher.ask(), Done):
        if isinstance(answer, Proposal):
            curves[answer.trial] = table.curves[answer.arch[0], rng.integers(table.curves.shape[1])]
            rungs.enter(answer.trial, None)
            first = ends[0] if len(ends) > 1 else last
            rungs.record(answer.trial, 0, float(curves[answer.trial][first - 1]))
            epochs += first
        elif promoted := rungs.promote():
            for trial, rung in promoted:
                rungs.record(trial, rung, float(curves[trial][ends[rung] - 1]))
                epochs += ends[rung] - ends[rung - 1]
        else:
            if stop is True and not told and len(curves) < num_trials:
                whole = list(curves.values())
                last = choose_early_stop(whole, [curve[-1] for curve in whole])
                for trial, curve in curves.items():
                    rungs.record(trial, 0, float(curve[last - 1]))
            values = rungs.values()
            searcher.revise({trial: value for trial, value in values.items() if trial in told})
            for trial, value in values.items():
                if trial not in told:
                    searcher.tell(trial, value)
            told = values
    finalists = [arch[0] for arch in searcher.finalists(None, 1, 1)]
    retrained = [table.curves[i, rng.integers(table.curves.shape[1]), -1] for i in finalists]
    return float(table.test.max() - table.test[finalists[int(np.argmax(retrained))]]), epochs


WAYS: dict[str, Halving | bool] = {
    "whole": False, "early stop": True, "halving 3, 3 rungs": Halving(), "halving 3, 2 rungs": Halving(rungs=2),
    "halving 2, 3 rungs": Halving(eta=2),
}  # fmt: skip


def points(name: str, values: Floats) -> dict[str, str]:
    """Columns with the mean, in accuracy points, and half the width of its 95 % interval."""
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return {f"{name}_points": f"{100 * values.mean():.3f}", f"{name}_half_width": f"{100 * half:.3f}"}


def compare(options: argparse.Namespace) -> None:
    """Append a row for each strategy, number of candidates and way of stopping them."""
    table = Table.read()
    head = machine("cpu", ("numpy", "scipy")) | {
        "candidates": len(table.test), "seeds": table.curves.shape[1],
        "repeats": f"{options.repeats[0]}-{options.repeats[1] - 1}",
    }  # fmt: skip
    for strategy in options.strategies:
        for num_trials in options.trials:
            whole: Floats | None = None
            for name, stop in WAYS.items():
                found = [search_once(table, strategy, num_trials, stop, seed) for seed in range(*options.repeats)]
                regret, epochs = np.array(found).T
                whole = regret if whole is None else whole
                row = head | {
                    "strategy": strategy, "trials": num_trials, "way": name, "epochs": f"{epochs.mean():.1f}",
                    **points("regret", regret), **points("minus_whole", regret - whole),
                }  # fmt: skip
                append(COMPARED, [row])
                print(*list(row.values())[-8:], flush=True)


def main() -> None:
    """Run ``table`` or ``compare``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(required=True)
    table = parts.add_parser("table", help="train the candidates")
    table.add_argument("--num", type=int, default=100)
    table.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    table.set_defaults(run=make_table)
    both = parts.add_parser("compare", help="search the table")
    both.add_argument("--repeats", type=int, nargs=2, default=[100, 300], help="the first, and the first left out")
    both.add_argument("--trials", type=int, nargs="+", default=[12, 24, 44])
    both.add_argument("--strategies", nargs="+", default=["predictor_evolution", "random"])
    both.set_defaults(run=compare)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
