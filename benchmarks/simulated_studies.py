"""Simulated studies, many at a time: what the routes of a study would have measured and spent under an invented model.

The model has the size of the quickstart: a parent is trained, pruned and fine-tuned; a search trains candidates
briefly, then its best one for longer. The accuracy of a training rises as A - (A - start)·exp(-epoch / tau). These
vary: A, between replicates (in part common to all routes, since they share a validation split) and between trainings;
tau; the time of an epoch; the sizes of candidates; and each measurement. Accuracies are fractions; costs are in epochs
of fine-tuning.

The simulation shows the operating characteristics of a rule, never the truth about a real study.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reports.compare.reach import Floats, Steps, isotonic

__all__ = ["CHANCE", "FINE", "NUM_CLASSES", "Floats", "Route", "Scenario", "Studies", "simulated"]

CHANCE = 0.1
NUM_CLASSES = 10
FINE = 40
"""Points per epoch of a curve that shows what happens within an epoch."""


@dataclass(frozen=True)
class Scenario:
    """A kind of study. ``sd_*`` are standard deviations; for times, those of their logarithms."""

    name: str
    pretrain: float = 6.0
    finetune_epochs: int = 4
    finetune_tau: float = 0.8
    pruned_top1: float = 0.60
    prune_top1: float = 0.855
    num_candidates: int = 12
    candidate_epochs: int = 2
    candidate_gap: float = 0.09
    retrain_epochs: int = 6
    num_retrained: int = 2
    small_epoch: float = 0.6
    """Cost of an epoch of a small network."""
    retrain_tau: float = 1.0
    search_top1: float = 0.855
    is_parent_free: bool = False
    collapse: float = 0.0
    """Probability that pruning ends at chance."""
    budget: float = np.inf
    """Budget of the search, in units of its candidates' expected cost; a replicate that exceeds it delivers nothing."""
    num_targets: int = 1
    sd_common: float = 0.001
    sd_top1: float = 0.0035
    sd_measured: float = 0.006
    sd_tau: float = 0.2
    sd_time: float = 0.1
    sd_size: float = 0.6


@dataclass(frozen=True)
class Route:
    """What one contender measured and spent, in arrays of shape (studies, replicates, …).

    ``steps`` are smoothed and replayed one job after another. ``raw_top1`` is what was measured at each epoch, and
    ``raw_cost`` what had been spent on all jobs by then. ``spent`` is the total; ``delivered`` says whether there is a
    network.
    """

    steps: Steps
    raw_cost: Floats
    raw_top1: Floats
    spent: Floats
    delivered: NDArray[np.bool_]

    def scaled(self, factor: float) -> Route:
        """The same route with its costs multiplied by ``factor``."""
        steps = replace(self.steps, cost_from=factor * self.steps.cost_from, cost_to=factor * self.steps.cost_to)
        return replace(self, steps=steps, raw_cost=factor * self.raw_cost, spent=factor * self.spent)


@dataclass(frozen=True)
class Studies:
    """Many studies of one scenario: pruning and search for each target, and further contenders for the first target."""

    prune: list[Route]
    search: list[Route]
    direct: list[Route]


class _Draw:
    """Random draws of one batch. ``is_true`` leaves out measurement noise; an epoch has ``per_epoch`` measurements."""

    def __init__(
        self, scenario: Scenario, shape: tuple[int, int], rng: np.random.Generator, is_true: bool, per_epoch: int
    ) -> None:
        self.scenario, self.shape, self.rng, self.is_true, self.per_epoch = scenario, shape, rng, is_true, per_epoch
        self.common = rng.normal(0, scenario.sd_common, shape)

    def times(self, mean: float, sd: float, *more: int) -> Floats:
        return mean * np.exp(self.rng.normal(0, sd, (*self.shape, *more)))

    def measured(self, top1: Floats) -> Floats:
        if self.is_true:
            return top1
        noisy = top1 + self.rng.normal(0, self.scenario.sd_measured, top1.shape)
        return np.clip(noisy, 0.0, 1.0)

    def curve(self, start: Floats | float, end: Floats, tau: float, epochs: int) -> Floats:
        """True accuracies of one training, shape (…, points)."""
        speed = tau * np.exp(self.rng.normal(0, self.scenario.sd_tau, end.shape))
        at = np.arange(1, epochs * self.per_epoch + 1) / self.per_epoch
        begin = np.broadcast_to(np.asarray(start, dtype=float), end.shape)
        return np.asarray(end[..., None] - (end - begin)[..., None] * np.exp(-at / speed[..., None]))

    def training(self, top1: Floats, start: Floats, begin: Floats, per_epoch: Floats) -> tuple[Steps, Floats, Floats]:
        """Steps of one training, with its raw costs and accuracies; ``start`` is NaN where it is not measured."""
        raw = self.measured(top1)
        smooth = isotonic(raw) if not self.is_true else raw
        ends = begin[..., None] + per_epoch[..., None] * np.arange(1, raw.shape[-1] + 1) / self.per_epoch
        begins = np.concatenate([begin[..., None], ends[..., :-1]], axis=-1)
        before = np.concatenate([np.minimum(start, smooth[..., 0])[..., None], smooth[..., :-1]], axis=-1)
        return Steps(begins, ends, before, smooth), ends, raw


def simulated(
    scenario: Scenario,
    num_studies: int,
    n: int,
    rng: np.random.Generator,
    *,
    num_direct: int = 0,
    is_true: bool = False,
    per_epoch: int = 1,
) -> Studies:
    """Simulate ``num_studies`` studies of ``n`` replicates and ``num_direct`` contenders that only train a network."""
    draw = _Draw(scenario, (num_studies, n), rng, is_true, per_epoch)
    pretrain = np.zeros(draw.shape) if scenario.is_parent_free else draw.times(scenario.pretrain, scenario.sd_time)
    parent = rng.normal(0, scenario.sd_top1, draw.shape)
    candidates = _candidates(draw)
    prune, search = [], []
    for target in range(scenario.num_targets):
        lower = -0.01 * target
        prune.append(_pruned(draw, pretrain, parent / 2, lower))
        search.append(_searched(draw, candidates, lower))
    direct = [_trained(draw) for _ in range(num_direct)]
    return Studies(prune, search, direct)


def _pruned(draw: _Draw, pretrain: Floats, parent: Floats, lower: float) -> Route:
    its = draw.scenario
    end = its.prune_top1 + lower + draw.common + parent + draw.rng.normal(0, its.sd_top1, draw.shape)
    collapsed = draw.rng.random(draw.shape) < its.collapse
    end = np.where(collapsed, CHANCE, end)
    pruned = np.where(collapsed, CHANCE, its.pruned_top1 + lower + draw.common + 2 * parent)
    begin = pretrain + draw.times(0.1, its.sd_time)
    known = draw.measured(pruned)
    steps, costs, raw = draw.training(
        draw.curve(pruned, end, its.finetune_tau, its.finetune_epochs), known, begin, draw.times(1.0, its.sd_time)
    )
    first = Steps(begin[..., None], begin[..., None], known[..., None], known[..., None])
    return Route(
        _joined([first, steps]),
        np.concatenate([begin[..., None], costs], axis=-1),
        np.concatenate([known[..., None], raw], axis=-1),
        costs[..., -1],
        np.ones(draw.shape, bool),
    )


@dataclass(frozen=True)
class _Candidates:
    steps: Steps
    costs: Floats
    raw: Floats
    spent: Floats


def _candidates(draw: _Draw) -> _Candidates:
    """Short trainings, two at a time; ``costs`` also charge each with what its neighbour had spent by then."""
    its = draw.scenario
    quality = draw.common[..., None] + draw.rng.normal(0, its.sd_top1, (*draw.shape, its.num_candidates))
    per_epoch = draw.times(its.small_epoch, its.sd_size, its.num_candidates)
    length = per_epoch * its.candidate_epochs
    begin = np.cumsum(length, axis=-1) - length
    top1 = draw.curve(
        0.3, its.search_top1 - its.candidate_gap + quality, its.candidate_epochs / 3, its.candidate_epochs
    )
    steps, _, raw = draw.training(top1, np.full(begin.shape, np.nan), begin, per_epoch)
    pair = np.arange(its.num_candidates) ^ 1
    pair = np.where(pair < its.num_candidates, pair, np.arange(its.num_candidates))
    first = np.minimum(begin, begin[..., pair])
    own = per_epoch[..., None] * np.arange(1, raw.shape[-1] + 1) / draw.per_epoch
    costs = first[..., None] + own + np.minimum(own, length[..., pair, None])
    flat = (*draw.shape, -1)
    steps = Steps(*(part.reshape(flat) for part in (steps.cost_from, steps.cost_to, steps.top1_from, steps.top1_to)))
    return _Candidates(steps, costs.reshape(flat), raw.reshape(flat), length.sum(axis=-1))


def _searched(draw: _Draw, candidates: _Candidates, lower: float) -> Route:
    its = draw.scenario
    expected = its.num_candidates * its.candidate_epochs * its.small_epoch * np.exp(its.sd_size**2 / 2)
    went_on = candidates.spent <= its.budget * expected
    never = np.where(went_on, 0.0, -np.inf)[..., None]
    nothing, begin = np.full(draw.shape, np.nan), candidates.spent
    all_steps, all_costs, all_raw = [candidates.steps], [candidates.costs], [candidates.raw]
    for _ in range(its.num_retrained):
        end = its.search_top1 + lower + draw.common + draw.rng.normal(0, its.sd_top1, draw.shape)
        top1 = draw.curve(0.3, end, its.retrain_tau, its.retrain_epochs)
        steps, costs, raw = draw.training(top1, nothing, begin, draw.times(its.small_epoch, its.sd_time))
        begin = costs[..., -1]
        all_steps.append(replace(steps, top1_to=steps.top1_to + never))
        all_costs.append(costs)
        all_raw.append(raw + never)
    return Route(
        _joined(all_steps),
        np.concatenate(all_costs, axis=-1),
        np.concatenate(all_raw, axis=-1),
        np.where(went_on, begin, candidates.spent),
        went_on,
    )


def _trained(draw: _Draw) -> Route:
    """A contender that only trains a network."""
    its = draw.scenario
    end = its.search_top1 + draw.common + draw.rng.normal(0, its.sd_top1, draw.shape)
    top1 = draw.curve(0.3, end, its.retrain_tau, its.retrain_epochs)
    begin, nothing = np.zeros(draw.shape), np.full(draw.shape, np.nan)
    steps, costs, raw = draw.training(top1, nothing, begin, draw.times(its.small_epoch, its.sd_time))
    return Route(steps, costs, raw, costs[..., -1], np.ones(draw.shape, bool))


def _joined(parts: list[Steps]) -> Steps:
    names = ("cost_from", "cost_to", "top1_from", "top1_to")
    return Steps(*(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names))
