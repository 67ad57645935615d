"""What an ingredient does: the same contender with and without it, paired by replicate, within a study or between two.

usage: python -m benchmarks.ingredients [--write NAME] [--ratio] OFF ON [OFF ON ...]

OFF and ON are ``FOLDER:LABEL``, such as ``runs/ingredients:prune:global_magnitude`` and
``runs/ingredients:prune:global_magnitude+distilled``. The two may be in different studies if those have the same seeds,
data and targets. It prints, for each target, the difference of the test accuracies (ON minus OFF, in points), the ratio
of what the delivered networks cost (ON / OFF, all work charged), and the ratio of what it cost to reach ``level``, the
lower of the two median final accuracies on validation, over the replicates in which both reached it. That last ratio
multiplies R if the contender is the challenger, and divides it if it is pruning. Each has its 95 % t-interval and n.

Two studies run at different times, and a machine is not always as fast. So where OFF and ON are in two studies, ON's
costs are divided by ``speed``: how long the jobs took in ON's study that gave the same networks in both (pretraining
with the same seed to the same accuracy), against OFF's; the geometric mean of their ratios. Where there are none, since
the ingredient changes pretraining too, the cost cells are empty.

``--ratio`` gives the effect on R, which no machine's speed changes, since both of its sides were measured in one study:
sides then come in fours, pruning and challenger of OFF, pruning and challenger of ON. R is the challenger's cost over
that of pruning when each has reached ``level`` of its own study.
``--write`` keeps the rows as ``benchmarks/results/NAME.csv``.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd

from accounting.cost.shares import HEADLINE_POLICY
from reports import load
from reports.answers.study import JudgedStudy
from reports.data.frames import Frames
from reports.statistics import Estimate, paired_difference, ratio_interval

RESULTS = Path(__file__).with_name("results")
Side = tuple[Frames, str]
"""A study and the label of a contender in it."""
SAME = ("dataset", "targets", "replicates")
"""Facts in which two studies must agree for their replicates to be paired; the seed is in ``study.yaml``."""


def side(text: str) -> tuple[Path, str]:
    """The folder and the label of ``FOLDER:LABEL``; a label may have colons too."""
    folder, _, label = text.partition(":")
    if not label:
        raise SystemExit(f"{text}: expected FOLDER:LABEL, such as runs/ingredients:prune:global_magnitude")
    return Path(folder), label


def compared(off: Side, on: Side) -> list[dict[str, object]]:
    """A row per target."""
    rows = []
    speed = 1.0 if off[0] is on[0] else speed_between(off[0], on[0])
    for target in off[0].info.targets:
        accuracy, cost = zip(*(_networks(frames, label, target) for frames, label in (off, on)), strict=True)
        cost = (cost[0], _divided(cost[1], speed))
        points = paired_difference(*({key: 100 * value for key, value in one.items()} for one in reversed(accuracy)))
        level, (reached_off, reached_on) = _reached(off, on, target)
        rows.append(
            {"target": target, "off": off[1], "on": on[1], "off_study": off[0].info.name, "on_study": on[0].info.name}
            | {"off_top1": _mean(accuracy[0]), "on_top1": _mean(accuracy[1])}
            | _cells("points", points)
            | _cells("cost_ratio", ratio_interval(cost[1], cost[0]))
            | {"level": level}
            | _cells("level_cost_ratio", ratio_interval(_divided(reached_on, speed), reached_off))
            | {"speed": speed}
        )
    return rows


def effects_on_ratio(off: tuple[Side, Side], on: tuple[Side, Side]) -> list[dict[str, object]]:
    """A row per target: R with and without the ingredient, and the ratio of the two, paired by replicate."""
    rows = []
    for target in off[0][0].info.targets:
        of_off, of_on = _ratios(*off, target), _ratios(*on, target)
        ones = dict.fromkeys({**of_off, **of_on}, 1.0)
        rows.append(
            {"target": target, "off": f"{off[1][1]} / {off[0][1]}", "on": f"{on[1][1]} / {on[0][1]}"}
            | {"off_study": off[0][0].info.name, "on_study": on[0][0].info.name}
            | _cells("r_off", ratio_interval(of_off, ones))
            | _cells("r_on", ratio_interval(of_on, ones))
            | _cells("effect", ratio_interval(of_on, of_off))
        )
    return rows


def _ratios(pruning: Side, challenger: Side, target: int) -> dict[int, float]:
    """R of each replicate in which both reached the level of their study."""
    _, (of_pruning, of_challenger) = _reached(pruning, challenger, target)
    return {
        replicate: cost / of_pruning[replicate] for replicate, cost in of_challenger.items() if replicate in of_pruning
    }


def speed_between(off: Frames, on: Frames) -> float:
    """How long the same pretraining took in the study of ``on``, against that of ``off``; see the module's text.

    It is NaN if no pretraining of the two gave the same network.
    """
    ratios = [took / before for before, took in _common(_pretraining(off), _pretraining(on))]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan


def _common(off: dict[str, tuple[float, float]], on: dict[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """The seconds of each job in both, where it reached the same accuracy in both."""
    return [(off[job][0], on[job][0]) for job in off if job in on and off[job][1] == on[job][1]]


def _pretraining(frames: Frames) -> dict[str, tuple[float, float]]:
    """By pretraining job that ran once: its device-seconds, and its last accuracy on validation."""
    runs = frames.attempts[frames.attempts["phase"] == "pretrain"].drop_duplicates("job", keep=False)
    last = frames.progress.sort_values("epoch").groupby("attempt")["val_top1"].last()
    return {run.job: (run.allocated_s, last[run.attempt]) for run in runs.itertuples() if run.attempt in last}


def _divided(costs: dict[int, float], speed: float) -> dict[int, float]:
    return {replicate: cost / speed for replicate, cost in costs.items()}


def _reached(off: Side, on: Side, target: int) -> tuple[float, list[dict[int, float]]]:
    """The lower of the two median final accuracies on validation, and the device-hours until each had it, by replicate."""
    sides = []
    for frames, label in (off, on):
        study = JudgedStudy(frames)
        contender = study.contender(label, target)
        if contender is None:
            raise SystemExit(f"{frames.info.name}: {label!r} is no contender at {target} MACs")
        sides.append((study.contenders, contender, frames.info.margin))
    level = min(float(np.nanmedian(contenders.final(one, target))) for contenders, one, _ in sides)
    costs = []
    for contenders, one, margin in sides:
        (hours,) = contenders.costs_at(one, target, HEADLINE_POLICY, np.array([level]), margin)[0].T
        by_replicate = zip(contenders.replicates, map(float, hours), strict=True)
        costs.append({replicate: cost for replicate, cost in by_replicate if math.isfinite(cost)})
    return level, costs


def _networks(frames: Frames, label: str, target: int) -> tuple[dict[int, float], dict[int, float]]:
    """Test accuracy and cost in device-hours by replicate."""
    found = [network for network in frames.delivered if (network.label, network.target) == (label, target)]
    if not found:
        known = ", ".join(sorted({network.label for network in frames.delivered}))
        raise SystemExit(f"{frames.info.name} has no network of {label!r} at {target} MACs; it has {known}")
    accuracy = {network.replicate: network.test_top1 for network in found if network.test_top1 is not None}
    return accuracy, {network.replicate: network.cost_h[HEADLINE_POLICY] for network in found}


def _mean(values: dict[int, float]) -> float:
    return sum(values.values()) / len(values)


def _cells(name: str, found: Estimate) -> dict[str, object]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": found.n}


def main() -> None:
    """Print the table, and keep it if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", metavar="NAME", help="keep the rows in benchmarks/results/NAME.csv")
    parser.add_argument("--ratio", action="store_true", help="the effect on R; sides come in fours")
    parser.add_argument("sides", nargs="+", metavar="FOLDER:LABEL")
    asked = parser.parse_args()
    if len(asked.sides) % (4 if asked.ratio else 2):
        parser.error(
            "sides come in fours: pruning and challenger of OFF and of ON"
            if asked.ratio
            else "sides come in pairs: OFF ON"
        )
    sides = [side(text) for text in asked.sides]
    studies = {folder: load(folder) for folder in dict.fromkeys(folder for folder, _ in sides)}
    first = next(iter(studies.values()))
    for frames in studies.values():
        for name in SAME:
            if getattr(frames.info, name) != getattr(first.info, name):
                raise SystemExit(
                    f"{frames.info.name} and {first.info.name} have different {name}; they cannot be paired"
                )
    placed = [(studies[folder], label) for folder, label in sides]
    pairs = list(zip(placed[::2], placed[1::2], strict=True))
    if asked.ratio:
        rows = [row for off, on in zip(pairs[::2], pairs[1::2], strict=True) for row in effects_on_ratio(off, on)]
    else:
        rows = [row for off, on in pairs for row in compared(off, on)]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="%.4g"))
    if asked.write:
        table.to_csv(RESULTS / f"{asked.write}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
