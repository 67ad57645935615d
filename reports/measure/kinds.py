"""Accuracy and cost of each kind of delivered network at a target: what is left to say without a ratio, or beside one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accounting.cost.shares import POLICIES
from accounting.study.facts import StudyFacts
from accounting.words.names import COMPARED, FAMILY_CONTROL, route_of, without_method
from reports.data.frames import Frames
from reports.measure.methods import parent_test_top1
from reports.statistics import Estimate, mean_interval, paired_difference


@dataclass(frozen=True)
class KindAt:
    """The networks of a kind at a target, over replicates: test accuracy (0-1), device-hours by charge policy."""

    label: str
    target: int
    test_top1: Estimate
    cost_h: Mapping[str, Estimate]


@dataclass(frozen=True)
class Alone:
    """What a study has that lacks routes of the headline's pair, so that there is no verdict.

    ``kinds`` has, for each target, the kinds of networks that are shown: those of its main routes, the pair's first, or
    controls if there is nothing else. ``unfinished`` are the targets with fewer networks of a main route than replicates.
    """

    dataset: str
    unit: str
    targets: tuple[int, ...]
    missing: tuple[str, ...]
    kinds: tuple[KindAt, ...]
    parent_test_top1: Estimate
    unfinished: tuple[int, ...]

    @property
    def main(self) -> tuple[KindAt, ...]:
        """Its main kind of network at each target; none if nothing has been delivered."""
        return tuple(one for one in self.kinds if one.label == self.kinds[0].label)


@dataclass(frozen=True)
class ControlAt:
    """The family's small network, trained directly, at a target, and by how much each of the pair's routes is above it.

    ``apart`` are differences of test accuracies (route - control), paired by replicate, by the route's label.
    """

    control: KindAt
    apart: Mapping[str, Estimate]


def missing_routes(info: StudyFacts) -> list[str]:
    """Routes of the headline's pair that the study lacks; if there are any, it has no verdict."""
    return [route for route in _pair_routes(info) if route not in info.routes]


def alone(frames: Frames) -> Alone:
    """What a study without a verdict has."""
    info = frames.info
    return Alone(
        dataset=info.dataset,
        unit=frames.unit,
        targets=info.targets,
        missing=tuple(missing_routes(info)),
        kinds=tuple(kind_at(frames, label, target) for target in info.targets for label in _shown(frames)),
        parent_test_top1=parent_test_top1(frames),
        unfinished=tuple(_unfinished(frames)),
    )


def controls_beside(frames: Frames) -> list[ControlAt]:
    """The control at each target at which it has a test accuracy."""
    pair = [route for label in frames.info.listed_pair if (route := without_method(label)) != FAMILY_CONTROL]
    found = []
    for target in frames.info.targets:
        top1 = {label: _test_top1(frames, label, target) for label in (FAMILY_CONTROL, *pair)}
        control = top1[FAMILY_CONTROL]
        if control:
            apart = {
                route: paired_difference(top1[route], control) for route in pair if top1[route].keys() & control.keys()
            }
            found.append(ControlAt(kind_at(frames, FAMILY_CONTROL, target), apart))
    return found


def kind_at(frames: Frames, label: str, target: int) -> KindAt:
    """The networks with this label at a target."""
    costs = [n.cost_h for n in frames.delivered if (n.label, n.target) == (label, target)]
    return KindAt(
        label,
        target,
        mean_interval(list(_test_top1(frames, label, target).values()), at_least=0.0, at_most=1.0),
        {policy: mean_interval([cost[policy] for cost in costs], at_least=0.0) for policy in POLICIES},
    )


def _test_top1(frames: Frames, label: str, target: int) -> dict[int, float]:
    """Test accuracies by replicate."""
    return {
        network.replicate: network.test_top1
        for network in frames.delivered
        if (network.label, network.target) == (label, target) and network.test_top1 is not None
    }


def _unfinished(frames: Frames) -> list[int]:
    routes = [route for route in (*COMPARED, *frames.info.challengers) if route in frames.info.routes]
    return [
        target
        for target in frames.info.targets
        if any(len(_test_top1(frames, route, target)) < frames.info.replicates for route in routes)
    ]


def _shown(frames: Frames) -> list[str]:
    """The kinds of networks that are shown."""
    delivered = {network.label for network in frames.delivered}
    routes = dict.fromkeys((*_pair_routes(frames.info), *COMPARED, *frames.info.challengers))
    return [label for label in routes if label in delivered] or sorted(delivered)


def _pair_routes(info: StudyFacts) -> list[str]:
    return list(dict.fromkeys(route_of(label) for label in info.listed_pair))
