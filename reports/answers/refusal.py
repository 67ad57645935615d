"""Why a target has no answer."""

from __future__ import annotations

from accounting.cost.shares import spent_h
from accounting.ledger.records import Phase
from accounting.words.names import PRUNE, route_of
from reports.answers.refusals import Delivered, Incomplete, LacksRoutes, NotBelowParent, Outside, SpentBudget
from reports.answers.study import JudgedStudy
from reports.compare.contenders import ENDED
from reports.data.frames import Frames
from reports.measure.kinds import missing_routes


def parent_macs(frames: Frames) -> int | None:
    """MACs of the dense network that is pruned; None if it has not been measured yet."""
    trained = [
        job.network_macs
        for job in frames.view.jobs
        if job.route == PRUNE and job.phase == Phase.PRETRAIN and job.network_macs is not None
    ]
    dense = [n.dense_macs for n in frames.delivered if n.label == PRUNE and n.dense_macs is not None]
    return max([*trained, *dense], default=None)


def refuse_outside(frames: Frames, target: int) -> NotBelowParent | Outside:
    """Why a target outside the range of the study's own has no answer."""
    limit = parent_macs(frames)
    if limit is not None and target >= limit:
        return NotBelowParent(limit)
    return Outside(frames.info.is_by_latency)


def refuse_incomplete(study: JudgedStudy, target: int) -> LacksRoutes | Incomplete:
    """Why a target within the study's range has not been measured yet."""
    frames = study.frames
    if missing := missing_routes(frames.info):
        return LacksRoutes(tuple(missing))
    wanted = [target] if target in frames.info.targets else _neighbours(frames, target)
    lacking = [value for value in wanted if not study.paired(study.challenger, value)]
    sessions = frames.view.sessions
    has_ended = bool(sessions) and sessions[-1].reason == ENDED
    return Incomplete(
        tuple(_delivered_at(study, value) for value in lacking),
        tuple(_spent_budget(frames, route) for route in _routes_over_budget(study, lacking)),
        frames.view.num_failed if has_ended else None,
    )


def _spent_budget(frames: Frames, route: str) -> SpentBudget:
    spent = [hours for (name, _), hours in spent_h(frames.view).items() if name == route]
    return SpentBudget(route, frames.info.budget_h[route], max(spent, default=0.0))


def _routes_over_budget(study: JudgedStudy, lacking: list[int]) -> list[str]:
    """The pair's routes that delivered too few of these because the budget was spent or too small for a job."""
    frames = study.frames
    budget_h, hours = frames.info.budget_h, dict.fromkeys(frames.stopped, 0.0) | spent_h(frames.view)
    over = {key for key, spent in hours.items() if spent >= budget_h.get(key[0], float("inf")) or key in frames.stopped}
    return [
        route
        for label in frames.info.listed_pair
        for route in [route_of(label)]
        if any(
            name == route and any(replicate not in _delivered(study, label, target) for target in lacking)
            for name, replicate in over
        )
    ]


def _neighbours(frames: Frames, target: int) -> list[int]:
    """The study's nearest targets below and above."""
    targets = frames.info.targets
    return [max(t for t in targets if t < target), min(t for t in targets if t > target)]


def _delivered_at(study: JudgedStudy, target: int) -> Delivered:
    pair = study.frames.info.listed_pair
    return Delivered(target, {declared: len(_delivered(study, declared, target)) for declared in pair})


def _delivered(study: JudgedStudy, declared: str, target: int) -> list[int]:
    """Replicates in which a contender of the declared pair has a network."""
    label = study.contenders.pair[study.frames.info.pair.index(declared)]
    found = study.contender(label, target)
    return [] if found is None else study.contenders.with_network(found, target)
