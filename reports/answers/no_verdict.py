"""What a study that lacks a route of the pair says: the accuracies and costs that it has, and no verdict."""

from __future__ import annotations

from accounting.cost.shares import HEADLINE_POLICY, POLICIES
from accounting.study.facts import StudyFacts
from accounting.words.names import COMPARED, label_text, route_of, unit_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.answers.short import within_words
from reports.answers.values import Line
from reports.answers.verdict_words import way_text
from reports.data.frames import Frames
from reports.measure.methods import parent_test_top1
from reports.statistics import Estimate, mean_interval
from reports.words.wording import POLICY_TEXT, number_estimate, percent_interval


def missing_routes(info: StudyFacts) -> list[str]:
    """Routes of the headline's pair that the study lacks; if there are any, it has no verdict."""
    return [route for route in _pair_routes(info) if route not in info.routes]


def headline(frames: Frames) -> str:
    """The first line of such a study's page: test accuracies of its main route at each target."""
    lacking = f"the study has no {' and no '.join(missing_routes(frames.info))} route"
    no_ratio = f"there is no cost ratio in {unit_text(frames.unit)}, since {lacking}"
    main = (*_shown(frames), None)[0]
    if main is None:
        return f"On {frames.info.dataset}, no network has been delivered yet (n = 0), and {no_ratio}."
    accuracies = [
        f"{percent_interval(_test_top1(frames, main, target))} at {macs_text(target)} MACs"
        for target in frames.info.targets
    ]
    dense = parent_test_top1(frames)
    way = way_text(main)
    parent = "" if dense.value is None else f"; the dense parent: {percent_interval(dense)}"
    told = f"{', '.join(accuracies)}{parent}"
    return f"On {frames.info.dataset}, test {task().metric} by {way} (95 % interval): {told}; {no_ratio}."


def short_headline(frames: Frames) -> str:
    """The headline in at most 25 words: the main route's accuracy at the largest target, and why there is no more."""
    lacking = f"no {' and no '.join(missing_routes(frames.info))} route"
    main = (*_shown(frames), None)[0]
    if main is None:
        return within_words(f"No verdict ({lacking}): no network has been delivered yet (n = 0)", [])
    target = frames.info.targets[-1]
    top1 = percent_interval(_test_top1(frames, main, target))
    way = way_text(main)
    return within_words(
        f"No verdict ({lacking}): {way} has test {task().metric} {top1} at {macs_text(target)} MACs", []
    )


def lines(frames: Frames) -> list[Line]:
    """A sentence per target and main route, with accuracy and cost; ``verdict`` is the route, which gives the colour."""
    return [Line(_line(frames, label, target), label) for target in frames.info.targets for label in _shown(frames)]


def unfinished(frames: Frames) -> list[int]:
    """Targets at which a main route has delivered fewer networks than there are planned replicates."""
    routes = [route for route in (*COMPARED, *frames.info.challengers) if route in frames.info.routes]
    return [
        target
        for target in frames.info.targets
        if any(_test_top1(frames, route, target).n < frames.info.replicates for route in routes)
    ]


def _line(frames: Frames, label: str, target: int) -> str:
    costs = ", ".join(
        f"{number_estimate(_cost_h(frames, label, target, policy))} {POLICY_TEXT[policy]}"
        for policy in (HEADLINE_POLICY, *(policy for policy in POLICIES if policy != HEADLINE_POLICY))
    )
    accuracy = percent_interval(_test_top1(frames, label, target))
    at = f"At {macs_text(target)} MACs, {label_text(label)}"
    return f"{at}: test {task().metric} {accuracy}; {unit_text(frames.unit)}: {costs}."


def _shown(frames: Frames) -> list[str]:
    """The routes whose networks are shown, those of the pair first; controls only if there is nothing else."""
    delivered = {network.label for network in frames.delivered}
    routes = dict.fromkeys((*_pair_routes(frames.info), *COMPARED, *frames.info.challengers))
    return [label for label in routes if label in delivered] or sorted(delivered)


def _pair_routes(info: StudyFacts) -> list[str]:
    return list(dict.fromkeys(route_of(label) for label in info.listed_pair))


def _test_top1(frames: Frames, label: str, target: int) -> Estimate:
    found = [n.test_top1 for n in frames.delivered if (n.label, n.target) == (label, target)]
    return mean_interval([value for value in found if value is not None], at_least=0.0, at_most=1.0)


def _cost_h(frames: Frames, label: str, target: int, policy: str) -> Estimate:
    found = [n.cost_h[policy] for n in frames.delivered if (n.label, n.target) == (label, target)]
    return mean_interval(found, at_least=0.0)
