"""The command ``answer``: for a whole study or one target, under other terms, or at a given accuracy or budget."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from accounting.words.names import Unit, parse_device_hours
from accounting.words.quantities import parse_macs, parse_percent, percent_of
from harness.console import guard
from harness.console.remembered import Remembered
from harness.console.terminal import say, say_json
from harness.errors import InputError

if TYPE_CHECKING:
    from reports.answers.as_json import AskedReply
    from reports.answers.values import Answer
    from reports.data.frames import Frames

MOST_SERVED = 1_000_000
"""Most targets that may be asked to share what is common."""


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for; None means the study's own value."""

    macs: str | None = None
    top1: str | None = None
    budget: str | None = None
    targets_served: int | None = None
    parent_price: str | None = None

    @property
    def is_own_question(self) -> bool:
        """Whether anything but a target is given."""
        return any(one is not None for one in (self.top1, self.budget, self.targets_served, self.parent_price))


class _Told:
    """Prints the answer and keeps what it printed."""

    def __init__(self, known: Remembered) -> None:
        self._known = known
        self.said: list[object] = []
        self.read: Mapping[str, str] = {}
        """The hashes of the segments as they were read."""
        self.is_lasting = True
        """Whether the answer follows from the study alone, and not from a plan made on this machine."""

    def note_read(self, frames: Frames) -> None:
        """Note what has been read, and begin to check that it is still the same."""
        self.read = frames.ledger.digests
        self._known.check_soon()

    def say(self, line: str) -> None:
        """Print a line of text."""
        self.said.append(line)
        say(line)

    def say_json(self, value: object) -> None:
        """Print a value as JSON."""
        self.said.append({"json": value})
        say_json(value)

    def say_again(self, said: list[object]) -> None:
        """Print what an earlier command said."""
        for one in said:
            say_json(one["json"]) if isinstance(one, dict) else say(str(one))


def show_answer(folder: Path, wishes: Wishes, *, as_json: bool) -> None:
    """Print the answer; exit with code 2 if it is refused. The answer of a large study is cached for the next time."""
    known = Remembered(folder, {"answer": asdict(wishes), "json": as_json})
    told, said = _Told(known), known.recall()
    if said is not None:
        told.say_again(said)
        return
    _find_answer(folder, wishes, told, as_json=as_json)
    if told.is_lasting:
        known.keep(told.said, told.read)


def show_page(page: Path, *, as_json: bool = False) -> None:
    """Print the sentences of a report that has been built, and where its page is; with ``as_json`` as one event."""
    from reports.page.build import told_sentences

    sentences = told_sentences(page)
    if as_json:
        from harness.console.events import json_line

        say(json_line(time.time(), "answer", {"sentences": sentences, "report": str(page)}))
        return
    for sentence in sentences:
        say(sentence)
    say(f"report: {page}")


def _find_answer(folder: Path, wishes: Wishes, told: _Told, *, as_json: bool) -> None:
    with _as_input_error("--macs"):
        wanted = None if wishes.macs is None else parse_percent(wishes.macs) or parse_macs(wishes.macs)
    if wishes.is_own_question:
        _show_own(folder, wishes, wanted, told, as_json=as_json)
        return
    from reports.answers.as_json import to_json
    from reports.answers.find import answer_of
    from reports.answers.refusal import parent_macs
    from reports.answers.study import JudgedStudy
    from reports.answers.text import sentence
    from reports.answers.values import Refused
    from reports.answers.whole import WholeAnswer
    from reports.data.frames import load_frames

    with guard.work_in(folder):
        frames = load_frames(folder)
        told.note_read(frames)
        if wanted is None:
            whole = WholeAnswer(frames)
            is_refused = whole.is_refused
            said = whole.as_json() if as_json else whole.sentences
        else:
            found = answer_of(JudgedStudy(frames), _whole_macs(wanted, parent_macs(frames)))
            is_refused, plan = isinstance(found, Refused), _plan_of(found, folder)
            said = (
                {**to_json(found), "plan": plan}
                if as_json
                else [_with_plan(sentence(found), plan), *_reminders(frames)]
            )
    if not isinstance(said, list):
        told.say_json(said)
    elif is_refused and wanted is not None:
        raise InputError(said[0])
    else:
        for line in said:
            told.say(line)
    if is_refused:
        raise typer.Exit(2)


def _show_own(folder: Path, wishes: Wishes, wanted: int | float | None, told: _Told, *, as_json: bool) -> None:
    """Print a sentence per target for a question under other terms; it is refused only if it is for every target."""
    level = None if wishes.top1 is None else _top1(wishes.top1)
    served = wishes.targets_served
    if served is not None and not 1 <= served <= MOST_SERVED:
        raise InputError(f"--targets-served {served}: a whole number from 1 to {MOST_SERVED:,} is expected")
    if wishes.budget is not None and (level is not None or served is not None or wishes.parent_price is not None):
        raise InputError("--budget goes with --macs alone; --top1, --targets-served and --parent-price go together")
    price = None if wishes.parent_price is None else _amount("--parent-price", wishes.parent_price)
    budget = None if wishes.budget is None else _amount("--budget", wishes.budget)
    if budget is not None and budget[0] == 0:
        raise InputError(f"--budget {wishes.budget}: give an amount above 0")
    from reports.answers.as_json import asked_json
    from reports.answers.asked import asked_answers, terms_of
    from reports.answers.asked_text import reply_sentence
    from reports.answers.asked_values import AskedRefused
    from reports.answers.refusal import parent_macs
    from reports.answers.refusal_text import config_change
    from reports.answers.study import JudgedStudy
    from reports.answers.within_budget import budget_answers
    from reports.compare.verdict import Asked
    from reports.data.frames import load_frames

    with guard.work_in(folder):
        frames = load_frames(folder)
        told.note_read(frames)
        targets = frames.info.targets if wanted is None else (_whole_macs(wanted, parent_macs(frames)),)
        study = JudgedStudy(frames)
        replies: Sequence[AskedReply]
        if budget is not None:
            replies = budget_answers(study, _hours("--budget", wishes.budget, budget, frames), targets)
        else:
            parent_h = None if price is None else _hours("--parent-price", wishes.parent_price, price, frames)
            replies = asked_answers(study, Asked(terms_of(served, parent_h), level), targets)
        refused = [isinstance(reply, AskedRefused) for reply in replies]
        changes = [config_change(reply) if isinstance(reply, AskedRefused) else None for reply in replies]
        told.is_lasting = not any(refused)
        planned = {change: _planned(folder, change) for change in dict.fromkeys(changes)}
        plans = [planned[change] for change in changes]
        sentences = [reply_sentence(reply) for reply in replies]
        reminders = _reminders(frames, is_parent_priced=price is not None)
    if as_json:
        stands = frames.audit.stands
        told.say_json(asked_json(replies, frames.unit, frames.info.name, sentences, plans, reminders, stands))
    else:
        lines = [_with_plan(line, plan) for line, plan in zip(sentences, plans, strict=True)]
        if all(refused) and len(lines) == 1:
            raise InputError(lines[0])
        for line in [*lines, *reminders]:
            told.say(line)
    if all(refused):
        raise typer.Exit(2)


def _reminders(frames: Frames, *, is_parent_priced: bool = False) -> list[str]:
    """What to keep in mind with every sentence.

    That the verdict may not stand, and what the study declares without having measured it: the cost of the parent, and
    what hours on GPU models count as. A price of the parent that is asked for (``is_parent_priced``) takes the place of
    the declared one.
    """
    from accounting.cost.equivalence import rates_sentences
    from reports.answers.pays_text import declared_sentence
    from reports.sentences.standing import standing_sentences

    declared = None if is_parent_priced else frames.info.declared_parent
    said = [] if declared is None else [declared_sentence(declared)]
    rates = rates_sentences(frames.view.equivalence, frames.caveats.moved)
    return [*standing_sentences(frames.audit.standing), *said, *rates]


def _planned(folder: Path, change: str | None) -> str | None:
    """What a change of the config costs by ``plan``; None if there is no change."""
    if change is None:
        return None
    from harness.console.change_cost import change_cost

    return change_cost(folder, change)


def _plan_of(given: Answer, folder: Path) -> str | None:
    """What it would cost to measure what a refused answer lacks; None if it is not refused."""
    from reports.answers.refusal_text import config_change
    from reports.answers.values import Refused

    return _planned(folder, config_change(given)) if isinstance(given, Refused) else None


def _with_plan(sentence: str, plan: str | None) -> str:
    return sentence if plan is None else f"{sentence}; {plan}"


@contextmanager
def _as_input_error(option: str) -> Iterator[None]:
    """Raise a ``ValueError`` of the block as ``InputError``, with the option's name in front."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


def _top1(given: str) -> float:
    """A fraction, from text such as 0.92 or 92%; ``InputError`` for anything else."""
    text = given.strip()
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise InputError(f"--top1 {given}: a validation accuracy above 0 and below 1 is expected, as 0.92 or 92%")
    return value


def _amount(option: str, given: str) -> tuple[float, Unit | None]:
    """Device-hours and their unit; 0 needs no unit (None). ``InputError`` for anything else."""
    if given.strip() == "0":
        return 0.0, None
    with _as_input_error(option):
        return parse_device_hours(given)


def _hours(option: str, given: str | None, amount: tuple[float, Unit | None], frames: Frames) -> float:
    """The amount in the study's own unit; ``InputError`` if it is in another."""
    hours, unit = amount
    if unit is not None and unit != frames.unit:
        own = Unit(frames.unit).text
        raise InputError(
            f"{option} {given}: this study's costs are in {own}, and no rate converts one into the other; give it in {own}"
        )
    return hours


def _whole_macs(wanted: int | float, parent: int | None) -> int:
    """The target in MACs; ``InputError`` for a share of a parent whose MACs no job has measured yet."""
    if isinstance(wanted, int):
        return wanted
    if parent is None:
        raise InputError(
            f"--macs {wanted:g}%: the parent's MACs are not measured yet; give the target in MACs, as 0.6M"
        )
    return percent_of(wanted, parent)
