"""Files beside a study that its report cannot use: prices, and plans. The report does without them, and says so."""

from __future__ import annotations

from accounting.study.folder import StudyFolder
from accounting.study.plans import NotAPlan, StoredPlan, read_plans
from reports.data.frames import Frames
from reports.measure.money import money_beside, said_of


def plans_beside(frames: Frames) -> tuple[StoredPlan, ...]:
    """The plans kept with the study; none if one of them cannot be read."""
    return () if _plans_problem(frames) is not None else read_plans(StudyFolder(frames.folder))


def unusable(frames: Frames) -> tuple[str, ...]:
    """A sentence for each kind of file that cannot be used, with the reason."""
    problems = (money_beside(frames).problem, _plans_problem(frames))
    return tuple(problem for problem in problems if problem is not None)


def _plans_problem(frames: Frames) -> str | None:
    try:
        read_plans(StudyFolder(frames.folder))
    except NotAPlan as error:
        return f"planned and actual cost are not compared: {said_of(error, frames)}"
    return None
