"""Files beside a study that its report cannot use: prices, and plans. The report does without them, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from accounting.study.folder import StudyFolder
from accounting.study.plans import NotAPlan, StoredPlan, read_plans
from reports.data.frames import Frames
from reports.measure.money import money_beside, said_of


class Beside(Enum):
    """What may be kept beside a study."""

    PRICES = auto()
    PLANS = auto()


@dataclass(frozen=True)
class Unusable:
    """Files that cannot be used; ``why`` names the file and what is wrong with it."""

    what: Beside
    why: str


def plans_beside(frames: Frames) -> tuple[StoredPlan, ...]:
    """The plans kept with the study; none if one of them cannot be read."""
    return () if _plans_problem(frames) is not None else read_plans(StudyFolder(frames.folder))


def unusable(frames: Frames) -> Iterator[Unusable]:
    """Each kind of file that cannot be used, with the reason."""
    problems = {Beside.PRICES: money_beside(frames).problem, Beside.PLANS: _plans_problem(frames)}
    return (Unusable(what, why) for what, why in problems.items() if why is not None)


def _plans_problem(frames: Frames) -> str | None:
    try:
        read_plans(StudyFolder(frames.folder))
    except NotAPlan as error:
        return said_of(error, frames)
    return None
