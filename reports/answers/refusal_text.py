"""Why a question has no answer, in words, and the config lines that would give one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accounting.cost.models import models_text
from accounting.study.facts import REHEARSAL
from accounting.words.names import label_text, unit_text
from accounting.words.quantities import HOUR_S, hours_text, macs_text
from accounting.words.task import task
from reports.answers.asked_values import AskedRefused
from reports.answers.between import MOST_LEFT_OUT_ERROR
from reports.answers.refusals import (
    Delivered,
    Incomplete,
    LacksRoutes,
    MixedModels,
    NeverSpent,
    NoNetworkYet,
    NotBelowParent,
    NotMeasured,
    NotReached,
    OffTheLine,
    Outside,
    Rehearsal,
    Unjudged,
)
from reports.answers.values import Question, Refused
from reports.words.wording import number, percent

OTHER_STUDY = "in another study (--out)"
"""Appended to a change that the study's folder cannot take, because attempts were paid for without it."""


def refusal_sentence(given: Refused | AskedRefused) -> str:
    """The sentence that says why a question has no answer, and which config lines would give one."""
    change = config_change(given)
    how = "" if change is None else f"; to measure it: {' and '.join(change.splitlines())}"
    return f"At {macs_text(given.question.target)} MACs: no answer: {reason_text(given)}{how}"


def reason_text(given: Refused | AskedRefused) -> str:
    """Why there is no answer."""
    question, why = given.question, given.why
    target, known, unit = macs_text(question.target), _macs(question.targets), unit_text(question.unit)
    match why:
        case Rehearsal() | MixedModels():
            return unjudged_text(why)
        case NotBelowParent(limit):
            return (
                f"the parent has {macs_text(limit)} MACs, so it cannot be pruned to {target}; "
                "a larger parent can, in another study (run with --out)"
            )
        case Outside(is_by_latency=True):
            came_to = f"the study's targets are latencies, which came to {known} MACs"
            return f"not measured: {came_to}, and costs are not extrapolated"
        case Outside():
            side = "below" if question.target < question.targets[0] else "above"
            return (
                f"not measured: {target} MACs is {side} the study's targets ({known}), and costs are not extrapolated"
            )
        case NotMeasured():
            return (
                f"not measured: this is answered at the study's own targets ({known}), and cannot be interpolated here"
            )
        case OffTheLine(of, error):
            return (
                f"not measured, and interpolating between the study's targets misses measured {of} by up to {error:.2f}× "
                f"(at most {MOST_LEFT_OUT_ERROR}× is allowed)"
            )
        case LacksRoutes(routes):
            return f"the study has no {' and no '.join(routes)} route, so there is nothing to compare"
        case Incomplete():
            return _incomplete(why, question)
        case NotReached(level, best, top1, larger):
            said = (
                f"no contender reached {percent(level)} on validation often enough; the best, {label_text(best)}, ends at "
                f"{percent(top1)} (median), and costs are not extrapolated"
            )
            if larger is None:
                return said
            return f"{said}; the parent, with {percent(larger.parent_top1)}, reaches it, so a larger target may"
        case NeverSpent(budget_h, most_by, most_h, capped):
            said = (
                f"no contender spent {number(budget_h)} {unit} on this target; the most, by {label_text(most_by)}, were "
                f"{number(most_h)}, and {task().qualities} are not extrapolated"
            )
            return f"{said}; the budget of {' and '.join(capped)} was spent" if capped else said
        case NoNetworkYet(budget_h, first):
            said = f"no contender has a network within this target for {number(budget_h)} {unit}"
            if first is None:
                return said
            return f"{said}; the first one was measured after {number(first.hours)}, by {label_text(first.label)}"


def config_change(given: Refused | AskedRefused) -> str | None:
    """The config lines that would give an answer; None if continuing the study is enough, or no change would."""
    question, why = given.question, given.why
    with_target = f"targets: [{_macs({*question.targets, question.target})}]"
    match why:
        case NotBelowParent():
            larger = f"a network of more than {macs_text(question.target)} MACs, {OTHER_STUDY}"
            return f"parent: {{...}}  # {larger}\n{with_target}"
        case Outside(is_by_latency=True):
            return f"{with_target}  # instead of target, {OTHER_STUDY}"
        case Outside() | NotMeasured() | OffTheLine():
            return with_target
        case LacksRoutes(routes):
            return "\n".join(f"routes: {{{route}: {{}}}}  # with its settings" for route in routes)
        case Incomplete(spent=spent) if spent:
            more = ", ".join(f"{each.route}: {_budget_text(2 * max(each.budget_h, each.spent_h))}" for each in spent)
            return f"budget: {{{more}}}  # or no cap: leave the key out"
        case NotReached(larger=larger) if larger is not None:
            return f"targets: [{_macs({*question.targets, larger.target})}]"
        case NeverSpent(budget_h, capped=capped) if capped:
            enough = hours_text(float(f"{2 * budget_h:.2g}"))
            return f"budget: {{{', '.join(f'{route}: {enough}' for route in capped)}}}"
        case NotReached(epochs=epochs) | NeverSpent(epochs=epochs):
            return _longer_training(epochs)
        case Rehearsal() | MixedModels() | Incomplete() | NoNetworkYet():
            return None


def unjudged_text(why: Unjudged) -> str:
    """Why a study is not judged."""
    if isinstance(why, Rehearsal):
        return REHEARSAL
    return f"not comparable: {models_text(why.hours)}, and hours of one are not those of another"


def unjudged_headline(why: Unjudged, num_delivered: int) -> str:
    """The only line of a study that is not judged."""
    said = unjudged_text(why)
    cut = ""
    if isinstance(why, Rehearsal):
        keys = "1 key" if why.num_keys_cut == 1 else f"{why.num_keys_cut} keys"
        cut = f", and {keys} of the config {'was' if why.num_keys_cut == 1 else 'were'} cut"
    return f"{said[0].upper()}{said[1:]}; {_networks(num_delivered)} delivered{cut}."


def unjudged_short(why: Unjudged, num_delivered: int) -> str:
    """The same in at most 25 words: without the names of GPU models and their hours."""
    if isinstance(why, Rehearsal):
        return unjudged_headline(why, num_delivered)
    held = (
        f"GPUs of {len(why.hours)} models" if len(why.hours) > 1 else "GPUs of a model without a declared equivalence"
    )
    return (
        f"Not comparable: {held} were held, and hours of one are not those of another; {_networks(num_delivered)} "
        "delivered."
    )


def _networks(count: int) -> str:
    return "1 network was" if count == 1 else f"{count} networks were"


def _incomplete(why: Incomplete, question: Question) -> str:
    counts = f"the study is incomplete: {'; '.join(_delivered(each, question) for each in why.lacking)}"
    if why.spent:
        caps = " and ".join(f"{s.route} ({number(s.budget_h)} {unit_text(question.unit)})" for s in why.spent)
        return f"{counts}; the budget is spent of {caps}"
    if why.num_failed is None:
        return f"{counts}; `prune-or-search run` with the same config continues"
    failed = "1 failed job" if why.num_failed == 1 else f"{why.num_failed} failed jobs"
    return f"{counts}; the study has ended, with {failed}"


def _delivered(at: Delivered, question: Question) -> str:
    counts = [f"{label} {count} of {question.replicates}" for label, count in at.by_contender.items()]
    return f"at {macs_text(at.target)} MACs, networks delivered by {' and '.join(counts)} replicates"


def _macs(targets: Iterable[int]) -> str:
    return ", ".join(map(macs_text, sorted(targets)))


def _budget_text(hours: float) -> str:
    """Device-hours as a config has them."""
    for unit, in_hours in (("h", 1.0), ("min", 1 / 60)):
        if hours >= in_hours:
            return f"{hours / in_hours:.1f} {unit}"
    return f"{hours * HOUR_S:.3f} s"


def _longer_training(epochs: Mapping[str, int]) -> str | None:
    """Config lines that double the epochs of every full training; None if the config gives none."""
    lines = [_nested(key, 2 * count) for key, count in epochs.items()]
    return "\n".join([f"{lines[0]}  # longer training, {OTHER_STUDY}", *lines[1:]]) if lines else None


def _nested(key: str, value: int) -> str:
    """``recipe.epochs`` → ``recipe: {epochs: 24}``."""
    first, *rest = key.split(".")
    return f"{first}: " + "".join(f"{{{part}: " for part in rest) + f"{value}" + "}" * len(rest)
