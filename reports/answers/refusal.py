"""Why a target has no answer, and the config lines that would measure it."""

from __future__ import annotations

from accounting.cost.shares import spent_h
from accounting.ledger.records import Phase
from accounting.words.names import PRUNE, route_of, unit_text
from accounting.words.quantities import HOUR_S, macs_text
from reports.answers.no_verdict import missing_routes
from reports.answers.study import JudgedStudy
from reports.compare.contenders import ENDED
from reports.data.frames import Frames
from reports.words.wording import number


def parent_macs(frames: Frames) -> int | None:
    """MACs of the dense network that is pruned; None if it has not been measured yet."""
    trained = [
        job.network_macs
        for job in frames.view.jobs
        if job.route == PRUNE and job.phase == Phase.PRETRAIN and job.network_macs is not None
    ]
    dense = [n.dense_macs for n in frames.delivered if n.label == PRUNE and n.dense_macs is not None]
    return max([*trained, *dense], default=None)


def refuse_outside(frames: Frames, target: int) -> tuple[str, str]:
    """(reason, config change) for a target outside the range of the study's own."""
    known = ", ".join(macs_text(value) for value in frames.info.targets)
    targets = ", ".join(macs_text(value) for value in sorted({*frames.info.targets, target}))
    limit = parent_macs(frames)
    if limit is not None and target >= limit:
        return (
            f"the parent has {macs_text(limit)} MACs, so it cannot be pruned to {macs_text(target)}; "
            "a larger parent can, in another study (run with --out)",
            f"parent: {{...}}  # a network of more than {macs_text(target)} MACs, in another study (--out)\n"
            f"targets: [{targets}]",
        )
    if frames.info.is_by_latency:
        return (
            f"not measured: the study's targets are latencies, which came to {known} MACs, and costs are not extrapolated",
            f"targets: [{targets}]  # instead of target, in another study (--out)",
        )
    side = "below" if target < frames.info.targets[0] else "above"
    return (
        f"not measured: {macs_text(target)} MACs is {side} the study's targets ({known}), "
        "and costs are not extrapolated",
        f"targets: [{targets}]",
    )


def refuse_interpolation(frames: Frames, target: int, error: float, most: float) -> tuple[str, str]:
    """(reason, config change) for a target between measured ones that do not lie on a line."""
    targets = ", ".join(macs_text(value) for value in sorted({*frames.info.targets, target}))
    return (
        f"not measured, and interpolating between the study's targets misses measured cost ratios by up to {error:.2f}× "
        f"(at most {most}× is allowed)",
        f"targets: [{targets}]",
    )


def refuse_incomplete(study: JudgedStudy, target: int) -> tuple[str, str | None]:
    """(reason, config change) for a target within the study's range that has not been measured yet."""
    frames = study.frames
    if missing := missing_routes(frames.info):
        return (
            f"the study has no {' and no '.join(missing)} route, so there is nothing to compare",
            "\n".join(f"routes: {{{route}: {{}}}}  # with its settings" for route in missing),
        )
    wanted = [target] if target in frames.info.targets else _neighbours(frames, target)
    lacking = [value for value in wanted if not study.paired(study.challenger, value)]
    counts = f"the study is incomplete: {'; '.join(_delivered_text(study, value) for value in lacking)}"
    spent = _routes_over_budget(study, lacking)
    if spent:
        budget = frames.info.budget_h
        caps = " and ".join(f"{route} ({number(budget[route])} {unit_text(frames.unit)})" for route in spent)
        hours = spent_h(frames.view)
        most = {route: max((h for (name, _), h in hours.items() if name == route), default=0.0) for route in spent}
        more = ", ".join(f"{route}: {_budget_text(2 * max(budget[route], most[route]))}" for route in spent)
        return f"{counts}; the budget is spent of {caps}", f"budget: {{{more}}}  # or no cap: leave the key out"
    sessions = frames.view.sessions
    if sessions and sessions[-1].reason == ENDED:
        return f"{counts}; the study has ended, with {_failed_text(frames.view.num_failed)}", None
    return f"{counts}; `prune-or-search run` with the same config continues", None


def _failed_text(num: int) -> str:
    return "1 failed job" if num == 1 else f"{num} failed jobs"


def _budget_text(hours: float) -> str:
    """Device-hours as a config has them."""
    for unit, in_hours in (("h", 1.0), ("min", 1 / 60)):
        if hours >= in_hours:
            return f"{hours / in_hours:.1f} {unit}"
    return f"{hours * HOUR_S:.3f} s"


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


def _delivered_text(study: JudgedStudy, target: int) -> str:
    info = study.frames.info
    counts = [f"{label} {len(_delivered(study, label, target))} of {info.replicates}" for label in info.listed_pair]
    return f"at {macs_text(target)} MACs, networks delivered by {' and '.join(counts)} replicates"


def _delivered(study: JudgedStudy, declared: str, target: int) -> list[int]:
    """Replicates in which a contender of the declared pair has a network."""
    label = study.contenders.pair[study.frames.info.pair.index(declared)]
    found = study.contender(label, target)
    return [] if found is None else study.contenders.with_network(found, target)
