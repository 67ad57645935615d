"""What attempts cost in money, if the study has prices beside it: derived when it is read, never stored."""

from __future__ import annotations

from accounting.cost.entries import entries_of
from accounting.cost.prices import Prices, read_prices
from accounting.study.folder import StudyFolder
from reports.data.frames import Frames


def prices_beside(frames: Frames) -> Prices | None:
    """The ``prices.yaml`` of the study's folder; None where there is none.

    Raises:
        BadPrices: it cannot be used.

    """
    path = StudyFolder(frames.folder).prices
    return read_prices(path) if path.exists() else None


def money_of_attempts(frames: Frames, prices: Prices) -> dict[str, float]:
    """Money by attempt, in the currency of the prices.

    Raises:
        BadPrices: a device that was held has no price.

    """
    entries = entries_of(frames.view, (), prices)
    return {entry.attempt.attempt: entry.amount.money or 0.0 for entry in entries if entry.attempt is not None}
