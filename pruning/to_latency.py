"""Structured pruning to a latency target: the smaller network whose measured latency just meets the target.

A network's latency is not a function of its MACs alone, so a given function measures it. The network is found by
bisection and interpolation over the MACs target of :func:`pruning.structured.prune_channels_to_macs`. Measurements are
noisy, so their number is bounded, and the network returned is measured once more before that.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Literal

from torch import nn

from accounting.macs.count import MacsReport, count_macs
from accounting.words.quantities import macs_text
from pruning.channels import find_groups, following, macs_with
from pruning.criterion import Criterion
from pruning.gradients import Batches, kept
from pruning.layers import LayerFilter, find_layers, left_alone
from pruning.scores import resolve
from pruning.solve import UnreachableTarget
from pruning.structured import TOLERANCE, StructuredResult, prune_channels_to_macs

_log = logging.getLogger(__name__)

Measure = Callable[[nn.Module], float]
"""Returns the milliseconds of a network's forward pass; it must not change the network."""
_PruneTo = Callable[[int], StructuredResult]
"""Returns the network that has been pruned to so many MACs."""

_RESOLUTION = 0.005
"""MACs targets closer to each other than this share of the dense MACs are not distinguished."""
_RESERVE = 4
"""Number of measurements reserved for the end, when the network to return is measured again."""


class Outcome(StrEnum):
    """How a search for a latency ended."""

    HIT = "hit"
    """Within the tolerance below the target."""
    BELOW = "below"
    """Further below the target: no measured network is within the tolerance."""
    ALREADY_MET = "already_met"
    """The dense network meets the target; nothing was removed."""


@dataclass(frozen=True, eq=False)
class LatencyResult:
    """A network that meets a latency target.

    Attributes:
        pruned: the network and its widths; ``pruned.target_macs`` is the MACs target at which the search ended.
        latency_ms: latency in the last measurement, made after the search; at most ``target_ms``.
        target_ms: the latency asked for.
        dense_ms: latency of the network before pruning.
        outcome: see :class:`Outcome`.
        probes: MACs and milliseconds of every measurement, in the order in which they were made.

    """

    pruned: StructuredResult
    latency_ms: float
    target_ms: float
    dense_ms: float
    outcome: Outcome
    probes: tuple[tuple[int, float], ...]


def prune_channels_to_latency(
    model: nn.Module,
    input_size: tuple[int, int, int],
    latency_ms: float,
    measure: Measure,
    *,
    criterion: str | Criterion = "magnitude",
    scope: Literal["uniform", "global"] = "uniform",
    round_to: int = 1,
    floor: float = 0.1,
    tolerance: float = 0.05,
    max_measurements: int = 16,
    keep: LayerFilter | None = None,
    seed: int = 0,
    batches: Batches | None = None,
) -> LatencyResult:
    """Remove the weakest channels until the measured latency is at most ``latency_ms``, and not far below it.

    The dense network is measured first, then the smallest that the floor allows, then those that interpolation and
    bisection propose in turn. The largest network that met the target is measured again; if it misses it this time, the
    search continues below it.

    Args:
        model: as for :func:`pruning.structured.prune_channels_to_macs`; it is not changed.
        input_size: channels, height, width of an image.
        latency_ms: the target.
        measure: returns the milliseconds of a network; called at most ``max_measurements`` times.
        criterion: a name in ``pruning/criteria``, or an object like those there.
        scope: ``uniform`` or ``global``, as for :func:`pruning.structured.prune_channels_to_macs`.
        round_to: kept widths are multiples of this.
        floor: least share (0-1) of its channels that each group keeps.
        tolerance: the search stops looking for a larger network within this share below the target.
        max_measurements: at least 6.
        keep: layers whose output channels stay.
        seed: seed for random criteria.
        batches: (images, labels), for criteria that need gradients.

    Raises:
        UnreachableTarget: the smallest network is too slow, or no network met the target twice; the message has the
            latency and MACs of the smallest.
        ValueError: argument out of range, or a measurement that is not a positive number.
        ModuleNotFoundError: Torch-Pruning, the extra ``structured``, is not installed.

    """
    if not 0.0 < latency_ms < math.inf or not 0.0 < tolerance < 1.0 or max_measurements < 6:
        raise ValueError(
            f"latency_ms is {latency_ms}, tolerance {tolerance}, max_measurements {max_measurements}; "
            "allowed: above 0, between 0 and 1, at least 6"
        )
    if scope not in ("uniform", "global") or round_to < 1 or not 0.0 <= floor <= 1.0:
        raise ValueError(
            f"scope is {scope!r}, round_to {round_to}, floor {floor}; allowed: uniform or global, 1 or more, 0 to 1"
        )
    resolve(criterion)
    prune_to = partial(
        prune_channels_to_macs, model, input_size, criterion=criterion, scope=scope, round_to=round_to, floor=floor,
        keep=keep, seed=seed, batches=None if batches is None else kept(batches),  # read for every network that is tried
    )  # fmt: skip
    goal, probes = _Goal(latency_ms, tolerance), _Probes(measure, max_measurements)
    dense = missed = probes.measure(_dense_result(model, input_size, scope))
    if goal.is_met(dense) and goal.is_met(missed := probes.measure(dense.network)):
        return _result(missed, goal, dense, Outcome.ALREADY_MET, probes)
    smallest = probes.measure(prune_to(_smallest_macs(model, input_size, round_to, floor, keep)))
    sizes = f"{macs_text(smallest.macs)} of {macs_text(dense.macs)} MACs"
    reachable = f"the smallest network has {sizes} and takes {smallest.ms:.4g} ms"
    if not goal.is_met(smallest):
        raise UnreachableTarget(
            f"cannot remove channels down to {latency_ms:g} ms: {reachable} (the dense one {dense.ms:.4g} ms)"
        )
    found = _Search(goal, probes, prune_to, smallest, missed).largest()
    if found is None:
        raise UnreachableTarget(
            f"no network met {latency_ms:g} ms in two measurements, of {len(probes.done)} made: {reachable}; "
            "measurements may be too noisy, more repetitions in each help"
        )
    if found.ms >= goal.near_ms:
        return _result(found, goal, dense, Outcome.HIT, probes)
    _log.warning(
        "no measured network is within %g %% below %g ms; the one returned takes %.4g ms",
        100 * tolerance, latency_ms, found.ms,
    )  # fmt: skip
    return _result(found, goal, dense, Outcome.BELOW, probes)


@dataclass(frozen=True)
class _Goal:
    """The latency to meet, and the share below it within which a network is good enough."""

    latency_ms: float
    tolerance: float

    @property
    def near_ms(self) -> float:
        """A network that takes at least this, and meets the latency, needs no larger one."""
        return (1 - self.tolerance) * self.latency_ms

    @property
    def aim_ms(self) -> float:
        """The middle of what is good enough."""
        return (1 - self.tolerance / 2) * self.latency_ms

    def is_met(self, timed: _Timed) -> bool:
        return timed.ms <= self.latency_ms


@dataclass(frozen=True, eq=False)
class _Timed:
    """A network and what one measurement of it gave."""

    network: StructuredResult
    ms: float

    @property
    def macs(self) -> int:
        return self.network.macs


class _Probes:
    """Measures networks, at most ``limit`` times, and remembers the results."""

    def __init__(self, measure: Measure, limit: int):
        self._measure, self._limit = measure, limit
        self.done: list[tuple[int, float]] = []

    @property
    def left(self) -> int:
        return self._limit - len(self.done)

    def measure(self, network: StructuredResult) -> _Timed:
        latency_ms = float(self._measure(network.model))
        if not 0.0 < latency_ms < math.inf:
            raise ValueError(f"measure gave {latency_ms} ms; it must give a positive number")
        self.done.append((network.macs, latency_ms))
        return _Timed(network, latency_ms)


class _Search:
    """Looks for the largest network that meets the goal, between one that met it and one that missed it.

    The interval narrows from both ends. Its lower end is not trusted before a second measurement.
    """

    def __init__(self, goal: _Goal, probes: _Probes, prune_to: _PruneTo, smallest: _Timed, missed: _Timed) -> None:
        self._goal, self._probes, self._prune_to = goal, probes, prune_to
        self._least_gap_macs = _RESOLUTION * missed.macs  # the dense network, so far
        self._met = [smallest]  # networks that met the goal, in rising size
        self._missed = missed  # the smallest network that missed it
        self._step_back = 0.0  # how far below that one the next may be at most, as a share of its MACs
        self._is_exhausted = False  # there is no network in between
        self._interpolates = True

    def largest(self) -> _Timed | None:
        """The network as measured for the second time; None if none met the goal twice."""
        while self._met and self._probes.left:
            best = self._met[-1]
            if self._can_narrow():
                self._narrow()
            elif self._goal.is_met(again := self._probes.measure(best.network)):
                return again
            else:
                self._retreat(again)
        return None

    def _can_narrow(self) -> bool:
        """Whether a larger network is worth a measurement, and there may be one."""
        best = self._met[-1]
        can_probe = self._probes.left > (_RESERVE if len(self._met) > 1 else 1) and not self._is_exhausted
        return best.ms < self._goal.near_ms and can_probe and self._missed.macs - best.macs > self._least_gap_macs

    def _narrow(self) -> None:
        """Measure a network within the interval; it becomes one of the ends."""
        candidate = _between(self._prune_to, self._met[-1].macs, self._missed.macs, self._proposal())
        if candidate is None:
            self._is_exhausted = True
        elif self._goal.is_met(timed := self._probes.measure(candidate)):
            self._met.append(timed)
        else:
            self._missed = timed

    def _proposal(self) -> int:
        """MACs to try: where a straight line through the ends meets the goal and, in turn, the middle."""
        best, missed = self._met[-1], self._missed
        share = (self._goal.aim_ms - best.ms) / (missed.ms - best.ms) if self._interpolates else 0.5
        self._interpolates = not self._interpolates
        proposal = best.macs + int(min(max(share, 0.05), 0.95) * (missed.macs - best.macs))
        return min(proposal, int((1 - self._step_back) * missed.macs)) if self._step_back else proposal

    def _retreat(self, again: _Timed) -> None:
        """Go on below a network that met the goal by chance, and so, presumably, did those only slightly smaller."""
        self._missed, self._is_exhausted, self._interpolates = again, False, True
        self._step_back = min(0.5, 2 * (self._step_back or self._goal.tolerance))
        while self._met and self._met[-1].macs > (1 - self._step_back) * again.macs:
            self._met.pop()


def _result(found: _Timed, goal: _Goal, dense: _Timed, outcome: Outcome, probes: _Probes) -> LatencyResult:
    return LatencyResult(found.network, found.ms, goal.latency_ms, dense.ms, outcome, tuple(probes.done))


def _dense_result(model: nn.Module, input_size: tuple[int, int, int], scope: str) -> StructuredResult:
    macs = count_macs(model, input_size).macs
    return StructuredResult(copy.deepcopy(model).eval(), macs, macs, macs, {}, {}, scope)


def _smallest_macs(
    model: nn.Module, input_size: tuple[int, int, int], round_to: int, floor: float, keep: LayerFilter | None
) -> int:
    """MACs with every group at its least width."""
    own = copy.deepcopy(model).eval()
    report: MacsReport = count_macs(own, input_size)
    ignored = left_alone(find_layers(own, input_size), keep)
    with following():
        groups, _ = find_groups(own, input_size, ignored)
    removed = [max(0, group.width - group.least_width(round_to, floor)) for group in groups]
    return macs_with(report, groups, removed)


def _between(prune_to: _PruneTo, low_macs: int, high_macs: int, proposal: int) -> StructuredResult | None:
    """A network with more than ``low_macs`` and less than ``high_macs``: the nearest at or below ``proposal`` if any is.

    Coarse widths leave gaps, so targets are tried in steps of the tolerance: first down from the proposal, then from
    the top down to the proposal. None if there is no network in between.
    """
    for start, end in ((proposal, low_macs), (high_macs - 1, proposal)):
        target_macs = start
        while target_macs > end:
            try:
                result = prune_to(target_macs)
            except UnreachableTarget:
                target_macs = int((1 - TOLERANCE) * target_macs)
                continue
            if result.macs > low_macs:
                return result
            break
    return None
