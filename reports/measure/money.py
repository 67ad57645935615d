"""The cost of attempts in money, if the study's folder has prices: derived when read, never stored."""

from __future__ import annotations

from accounting.cost.entries import entries_of
from accounting.cost.prices import Prices, read_prices
from accounting.study.folder import StudyFolder
from reports.data.frames import Frames


def prices_beside(frames: Frames) -> Prices | None:
    """The prices in the study's folder (``prices.yaml``); None if there are none.

    Raises:
        BadPrices: it cannot be used.

    """
    path = StudyFolder(frames.folder).prices
    return read_prices(path) if path.exists() else None


def money_of_attempts(frames: Frames, prices: Prices) -> dict[str, float]:
    """The money spent on each attempt, in the currency of the prices.

    Raises:
        BadPrices: a device that was held has no price.

    """
    entries = entries_of(frames.view, (), prices)
    return {entry.attempt.attempt: entry.amount.money or 0.0 for entry in entries if entry.attempt is not None}
