"""Runs the settings considered for the quickstart on pilot seeds, and judges them by the rule of docs/quickstart.md.

usage: python -m benchmarks.quickstart_pilots WORK [--only NAME ...] [--machine quiet|busy]

WORK is a folder for the studies; one that is finished there is read, not run again. Each setting of
``quickstart_pilots.yaml`` runs in one process without Ray, one job after another. Accuracies are then exact; costs are
those of a quiet machine only if it was quiet. A row for each contender and target is added to
``results/quickstart_pilots.csv``, and what the rule says of each setting is printed.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special

from accounting.cost.shares import HEADLINE_POLICY, ledger_h
from benchmarks.table import append, machine
from harness.config.study import load_configs
from reports import load
from reports.answers.study import JudgedStudy
from reports.compare.contenders import Contender
from reports.compare.rule import Verdict
from reports.data.frames import Frames
from reports.statistics import Estimate, mean_interval, paired_difference, ratio_interval

SETTINGS = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).with_name("results") / "quickstart_pilots.csv"
PACKAGES = ("torch", "timm", "torch-pruning", "prune-or-search")
FACTOR, POINTS = 1.25, 1.0
"""How much two contenders must differ at least: a factor in cost, or points of test accuracy."""
LEAST_TOP1 = 0.5
UNJUDGED = (Verdict.NOT_COMPARABLE, Verdict.NOT_REACHED, Verdict.NEITHER)

ByReplicate = Mapping[int, float]


@dataclass(frozen=True)
class Measured:
    """A contender over all targets, by replicate: its test accuracy in points, and its cost at a* (infinite if never)."""

    label: str
    top1: ByReplicate
    cost_h: ByReplicate

    @property
    def mean_top1(self) -> float:
        """Mean test accuracy in points."""
        return math.fsum(self.top1.values()) / len(self.top1)

    @property
    def mean_log_cost(self) -> float:
        """Mean logarithm of the cost at a*."""
        return math.fsum(map(math.log, self.cost_h.values())) / len(self.cost_h)


@dataclass(frozen=True)
class Difference:
    """Between two contenders: the second's cost at a* over the first's, and the first's points minus the second's."""

    ratio: Estimate
    points: Estimate

    @property
    def in_cost(self) -> bool:
        """Whether one is shown to be cheaper, by more than the factor."""
        low, value, high = self.ratio.low, self.ratio.value, self.ratio.high
        if low is None or value is None or high is None:
            return False
        return (low > 1 or high < 1) and not 1 / FACTOR <= value <= FACTOR

    @property
    def in_points(self) -> bool:
        """Whether one is shown to be more accurate, by the points or more."""
        low, value, high = self.points.low, self.points.value, self.points.high
        if low is None or value is None or high is None:
            return False
        return (low > 0 or high < 0) and abs(value) >= POINTS

    @property
    def is_shown(self) -> bool:
        """Whether they differ, in cost or in points."""
        return self.in_cost or self.in_points

    @property
    def certainty(self) -> float:
        """The larger of both differences over their standard errors."""
        logs = [
            None if bound is None else math.log(bound) for bound in (self.ratio.value, self.ratio.low, self.ratio.high)
        ]
        points = [self.points.value, self.points.low, self.points.high]
        return max(_certainty(*logs, self.ratio.n), _certainty(*points, self.points.n))


@dataclass(frozen=True)
class Judged:
    """What the rule says of a setting: why it does not qualify (nothing if it does), and its two differences."""

    failed: tuple[str, ...]
    winner: str
    control: str
    pair: Difference
    against_control: Difference

    @property
    def certainty(self) -> float:
        """How certain its smaller difference is."""
        return min(self.pair.certainty, self.against_control.certainty)


def judge(verdict: Verdict, ratio: Estimate, pair: tuple[Measured, Measured], controls: list[Measured]) -> Judged:
    """Conditions 1 to 4 of the rule; ``ratio`` is R with its interval, ``pair`` pruning and its challenger."""
    prune, challenger = pair
    of_pair = Difference(ratio, paired_difference(prune.top1, challenger.top1))
    if of_pair.in_cost:
        winner = prune if (ratio.value or 1) > 1 else challenger
    else:
        winner = max(pair, key=lambda one: one.mean_top1)
    control = min(controls, key=lambda one: one.mean_log_cost)
    against = difference(winner, control)
    best = max(one.mean_top1 for one in pair)
    failed = []
    if verdict in UNJUDGED or min(one.mean_top1 for one in pair) < 100 * LEAST_TOP1:
        failed.append(f"1: {verdict}")
    if not of_pair.is_shown:
        failed.append("2: the pair is not shown to differ")
    if not against.is_shown:
        failed.append(f"3: {winner.label} and {control.label} are not shown to differ")
    needless = [
        one.label
        for one in controls
        if one.mean_top1 >= best - POINTS and all(one.mean_log_cost < route.mean_log_cost for route in pair)
    ]
    if needless:
        failed.append(f"4: {', '.join(needless)} makes both needless")
    return Judged(tuple(failed), winner.label, control.label, of_pair, against)


def difference(first: Measured, second: Measured) -> Difference:
    """Between two contenders, paired by replicate, over the replicates in which both reached a*."""
    reached = [{r: cost for r, cost in one.cost_h.items() if math.isfinite(cost)} for one in (second, first)]
    return Difference(ratio_interval(*reached), paired_difference(first.top1, second.top1))


def measured(study: JudgedStudy, label: str) -> Measured | None:
    """A contender over all targets; None if it does not compete at one of them."""
    found = [(target, study.contender(label, target)) for target in study.frames.info.targets]
    contenders = [(target, one) for target, one in found if one is not None]
    if len(contenders) < len(found):
        return None
    top1 = [_top1(study, one, target) for target, one in contenders]
    costs = [_costs(study, one, target) for target, one in contenders]
    both = set.intersection(*(set(each) for each in (*top1, *costs)))
    return Measured(
        label,
        {r: 100 * math.fsum(each[r] for each in top1) / len(top1) for r in sorted(both)},
        {r: math.exp(math.fsum(math.log(each[r]) for each in costs) / len(costs)) for r in sorted(both)},
    )


def judge_study(frames: Frames) -> Judged:
    """What the rule says of a finished study."""
    study = JudgedStudy(frames)
    pooled = study.verdicts.pooled[study.challenger][HEADLINE_POLICY]
    prune, challenger = (measured(study, label) for label in study.contenders.pair)
    labels = dict.fromkeys(
        one.label for target in frames.info.targets for one in study.contenders.at(target) if one.is_control
    )
    controls = [one for one in (measured(study, label) for label in labels) if one is not None]
    assert prune is not None and challenger is not None
    return judge(pooled.verdict, pooled.cost_ratio, (prune, challenger), controls)


def rows(frames: Frames, judged: Judged, facts: Mapping[str, object]) -> list[dict[str, object]]:
    """A row for each contender and target."""
    study = JudgedStudy(frames)
    pooled = study.verdicts.pooled[study.challenger][HEADLINE_POLICY]
    found: list[dict[str, object]] = []
    for target in frames.info.targets:
        level = study.contenders.common(target).level
        prune = _finite(_costs(study, _known(study, study.contenders.pair[0], target), target))
        for one in study.contenders.at(target):
            top1, costs = _top1(study, one, target), _finite(_costs(study, one, target))
            found.append(
                {**facts, "setting": frames.info.name, "target": target, "contender": one.label, "n": len(top1)}
                | _cells("test_top1", mean_interval(list(top1.values())))
                | {"level": level, "reached": len(costs)}
                | _cells("cost_h", mean_interval(list(costs.values())))
                | _cells("over_prune", ratio_interval(costs, prune))
                | _cells("r", pooled.cost_ratio)
                | {"verdict": str(pooled.verdict), "winner": judged.winner, "control": judged.control}
                | {"qualifies": not judged.failed, "failed": "; ".join(judged.failed), "certainty": judged.certainty}
            )
    return [{key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()} for row in found]


def run(text: str, name: str, work: Path) -> Path:
    """Run a setting in a process of its own, unless it is there; returns the study's folder."""
    folder = work / "runs" / name
    if not (folder / "report" / "answer.json").exists():
        work.mkdir(parents=True, exist_ok=True)
        config = work / f"{name}.yaml"
        config.write_text(text, encoding="utf-8")
        command = ["harness.cli", "run", str(config), "--out", str(folder), "--backend", "inline", "-q"]
        subprocess.run([sys.executable, "-m", *command], check=True)
    return folder


def main() -> None:
    """Run or read each setting, add its rows, and print what the rule says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path, help="a folder for the studies")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these settings alone")
    parser.add_argument("--machine", choices=("quiet", "busy"), default="busy", help="what else it did meanwhile")
    given = parser.parse_args()
    texts = SETTINGS.read_text(encoding="utf-8").split("\n---\n")
    for config, text in zip(load_configs(SETTINGS), texts, strict=True):
        if given.only and config.name not in given.only:
            continue
        frames = load(run(text, config.name, given.work))
        judged = judge_study(frames)
        facts = machine("cpu", PACKAGES) | {"cores": os.cpu_count(), "machine_was": given.machine, "seed": config.seed}
        facts |= {"jobs": len(frames.view.jobs), "study_device_h": math.fsum(ledger_h(frames.view).values())}
        append(RESULTS, rows(frames, judged, facts))
        print(f"{config.name}: {'qualifies' if not judged.failed else '; '.join(judged.failed)}")
        for said, one in (
            ("search / prune", judged.pair),
            (f"{judged.control} / {judged.winner}", judged.against_control),
        ):
            print(f"  {said}: cost {_text(one.ratio)}, points {_text(one.points)}, certainty {one.certainty:.3g}")


def _top1(study: JudgedStudy, one: Contender, target: int) -> dict[int, float]:
    networks = study.contenders.delivered(one, target)
    return {r: network.test_top1 for r, network in networks.items() if network.test_top1 is not None}


def _costs(study: JudgedStudy, one: Contender, target: int) -> dict[int, float]:
    """Device-hours until it reached a*, by replicate; infinite where it did not."""
    level = study.contenders.common(target).level
    at = np.array([np.inf if level is None else level])
    (hours,) = study.contenders.costs_at(one, target, HEADLINE_POLICY, at, study.frames.info.margin)[0].T
    return dict(zip(study.contenders.replicates, map(float, hours), strict=True))


def _known(study: JudgedStudy, label: str, target: int) -> Contender:
    found = study.contender(label, target)
    if found is None:
        raise SystemExit(f"{study.frames.info.name}: {label} does not compete at {target} MACs")
    return found


def _finite(costs: ByReplicate) -> dict[int, float]:
    return {r: cost for r, cost in costs.items() if math.isfinite(cost)}


def _certainty(value: float | None, low: float | None, high: float | None, n: int) -> float:
    """|value| over its standard error, which a t-interval has; 0 without an interval."""
    if value is None or low is None or high is None or n < 2:
        return 0.0
    error = (high - low) / 2 / float(special.stdtrit(n - 1, 0.975))
    return math.inf if error == 0 else abs(value) / error


def _cells(name: str, found: Estimate) -> dict[str, object]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _text(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "–"
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g}, n = {found.n})"


if __name__ == "__main__":
    main()
