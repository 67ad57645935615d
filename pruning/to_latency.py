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
from typing import Literal

from torch import nn

from accounting.macs.count import MacsReport, count_macs
from accounting.words.quantities import macs_text
from pruning.channels import find_groups, following, macs_with
from pruning.criterion import Criterion
from pruning.gradients import Batches, kept
from pruning.layers import LayerFilter, find_layers, output_layers
from pruning.scores import resolve
from pruning.solve import UnreachableTarget
from pruning.structured import TOLERANCE, StructuredResult, prune_channels_to_macs

_log = logging.getLogger(__name__)

Measure = Callable[[nn.Module], float]
"""Returns the milliseconds of a network's forward pass; it must not change the network."""

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
    batches = None if batches is None else kept(batches)  # they are read for every network that is tried
    probes = _Probes(measure, max_measurements)
    dense = _dense_result(model, input_size, scope)
    dense_ms = missed_ms = probes.measure(dense)
    if dense_ms <= latency_ms and (missed_ms := probes.measure(dense)) <= latency_ms:
        return LatencyResult(dense, missed_ms, latency_ms, dense_ms, Outcome.ALREADY_MET, tuple(probes.done))

    def prune_to(target_macs: int) -> StructuredResult:
        return prune_channels_to_macs(
            model, input_size, target_macs, criterion=criterion, scope=scope, round_to=round_to, floor=floor,
            keep=keep, seed=seed, batches=batches,
        )  # fmt: skip

    smallest = prune_to(_smallest_macs(model, input_size, round_to, floor, keep))
    smallest_ms = probes.measure(smallest)
    sizes = f"{macs_text(smallest.macs)} of {macs_text(dense.macs)} MACs"
    reachable = f"the smallest network has {sizes} and takes {smallest_ms:.4g} ms"
    if smallest_ms > latency_ms:
        raise UnreachableTarget(
            f"cannot remove channels down to {latency_ms:g} ms: {reachable} (the dense one {dense_ms:.4g} ms)"
        )
    # Networks that met the target, in rising size; MACs of the smallest that missed it; how far to step below that.
    met, missed_macs, step_back = [(smallest, smallest_ms)], dense.macs, 0.0
    is_exhausted, interpolates = False, True
    while met and probes.left:
        best, best_ms = met[-1]
        can_probe = probes.left > (_RESERVE if len(met) > 1 else 1) and not is_exhausted
        if best_ms < (1 - tolerance) * latency_ms and can_probe and missed_macs - best.macs > _RESOLUTION * dense.macs:
            # Alternate between where a straight line through the interval's ends meets the target, and the middle.
            share = ((1 - tolerance / 2) * latency_ms - best_ms) / (missed_ms - best_ms) if interpolates else 0.5
            interpolates = not interpolates
            proposal = best.macs + int(min(max(share, 0.05), 0.95) * (missed_macs - best.macs))
            if step_back:
                proposal = min(proposal, int((1 - step_back) * missed_macs))
            candidate = _between(prune_to, best.macs, missed_macs, proposal)
            if candidate is None:
                is_exhausted = True
                continue
            candidate_ms = probes.measure(candidate)
            if candidate_ms <= latency_ms:
                met.append((candidate, candidate_ms))
            else:
                missed_macs, missed_ms = candidate.macs, candidate_ms
        elif (again_ms := probes.measure(best)) <= latency_ms:
            outcome = Outcome.HIT if again_ms >= (1 - tolerance) * latency_ms else Outcome.BELOW
            if outcome is Outcome.BELOW:
                _log.warning(
                    "no measured network is within %g %% below %g ms; the one returned takes %.4g ms",
                    100 * tolerance, latency_ms, again_ms,
                )  # fmt: skip
            return LatencyResult(best, again_ms, latency_ms, dense_ms, outcome, tuple(probes.done))
        else:
            # It met the target by chance, and so, presumably, did the networks that are only slightly smaller.
            missed_macs, missed_ms, is_exhausted, interpolates = best.macs, again_ms, False, True
            step_back = min(0.5, 2 * (step_back or tolerance))
            while met and met[-1][0].macs > (1 - step_back) * missed_macs:
                met.pop()
    raise UnreachableTarget(
        f"no network met {latency_ms:g} ms in two measurements, of {len(probes.done)} made: {reachable}; "
        "measurements may be too noisy, more repetitions in each help"
    )


class _Probes:
    """Measures networks, at most ``limit`` times, and remembers the results."""

    def __init__(self, measure: Measure, limit: int):
        self._measure, self._limit = measure, limit
        self.done: list[tuple[int, float]] = []

    @property
    def left(self) -> int:
        return self._limit - len(self.done)

    def measure(self, result: StructuredResult) -> float:
        latency_ms = float(self._measure(result.model))
        if not 0.0 < latency_ms < math.inf:
            raise ValueError(f"measure gave {latency_ms} ms; it must give a positive number")
        self.done.append((result.macs, latency_ms))
        return latency_ms


def _dense_result(model: nn.Module, input_size: tuple[int, int, int], scope: str) -> StructuredResult:
    macs = count_macs(model, input_size).macs
    return StructuredResult(copy.deepcopy(model).eval(), macs, macs, macs, {}, {}, scope)


def _smallest_macs(
    model: nn.Module, input_size: tuple[int, int, int], round_to: int, floor: float, keep: LayerFilter | None
) -> int:
    """MACs with every group at its least width."""
    own = copy.deepcopy(model).eval()
    report: MacsReport = count_macs(own, input_size)
    layers = find_layers(own, input_size)
    ignored = output_layers(layers) + [layer.name for layer in layers if keep is not None and keep(layer)]
    with following():
        groups, _ = find_groups(own, input_size, ignored)
    removed = [max(0, group.width - group.least_width(round_to, floor)) for group in groups]
    return macs_with(report, groups, removed)


def _between(
    prune_to: Callable[[int], StructuredResult], low_macs: int, high_macs: int, proposal: int
) -> StructuredResult | None:
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
