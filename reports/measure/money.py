"""The cost of attempts in money, if the study's folder has prices: derived when read, never stored."""

from __future__ import annotations

import os
from dataclasses import dataclass

from accounting.cost.entries import entries_of
from accounting.cost.prices import BadPrices, read_prices
from accounting.study.folder import StudyFolder
from accounting.words.plain_text import plain
from reports.data.frames import Frames


@dataclass(frozen=True)
class Money:
    """What each attempt cost, by its id, in ``currency`` (None: there are no prices, or ``problem`` says what is wrong)."""

    of_attempts: dict[str, float]
    currency: str | None = None
    problem: str | None = None


def money_beside(frames: Frames) -> Money:
    """The money at the prices in the study's folder (``prices.yaml``), which cost a report nothing if they are wrong."""
    path = StudyFolder(frames.folder).prices
    if not path.exists():
        return Money({})
    try:
        prices = read_prices(path)
        entries = entries_of(frames.view, (), prices)
    except BadPrices as error:
        return Money({}, problem=said_of(error, frames))
    spent = {entry.attempt.attempt: entry.amount.money or 0.0 for entry in entries if entry.attempt is not None}
    return Money(spent, prices.currency)


def said_of(error: Exception, frames: Frames) -> str:
    """What is wrong with a file of the study, by its name in the study's folder."""
    return plain(str(error).removeprefix(f"{frames.folder}{os.sep}"))
