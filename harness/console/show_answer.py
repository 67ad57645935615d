"""The command ``answer``: of a whole study, or for one target in MACs or as a share of the parent's."""

from __future__ import annotations

from pathlib import Path

import typer

from accounting.words.quantities import parse_macs, parse_percent, percent_of
from harness.console import guard
from harness.console.terminal import say, say_json
from harness.errors import InputError


def show_answer(folder: Path, macs: str | None, *, as_json: bool) -> None:
    """Print it; exit code 2 where it is refused."""
    wanted = None if macs is None else _target(macs)
    from reports.answers.as_json import to_json
    from reports.answers.find import answer_from_frames
    from reports.answers.refusal import parent_macs
    from reports.answers.text import sentence
    from reports.answers.values import Refused
    from reports.answers.whole import WholeAnswer
    from reports.data.frames import load_frames

    with guard.work_in(folder):
        frames = load_frames(folder)
        if wanted is None:
            whole = WholeAnswer(frames)
            is_refused, sentences, told = whole.is_refused, whole.sentences, whole.as_json()
        else:
            found = answer_from_frames(frames, _whole_macs(wanted, parent_macs(frames)))
            is_refused, sentences, told = isinstance(found, Refused), [sentence(found)], to_json(found)
    if as_json:
        say_json(told)
    elif is_refused and wanted is not None:
        raise InputError(sentences[0])
    else:
        for line in sentences:
            say(line)
    if is_refused:
        raise typer.Exit(2)


def _target(macs: str) -> int | float:
    """MACs as a whole number, or percent of the parent's; ``InputError`` for anything else."""
    try:
        return parse_percent(macs) or parse_macs(macs)
    except ValueError as error:
        raise InputError(f"--macs: {error}") from None


def _whole_macs(wanted: int | float, parent: int | None) -> int:
    """MACs of the target; ``InputError`` for a share of a parent that no job has measured yet."""
    if isinstance(wanted, int):
        return wanted
    if parent is None:
        raise InputError(
            f"--macs {wanted:g}%: the parent's MACs are not measured yet; give the target in MACs, as 0.6M"
        )
    return percent_of(wanted, parent)
