"""Which jobs led to a network: a job, the job whose weights it started from (``init_from``), and so on.

A job's teacher is not an ancestor of its network, but was needed for it as well, and is charged like one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from accounting.cost.values import Attempt, CostView
from accounting.ledger.specs import JobSpec, PruneSpec
from accounting.words.names import Role, words_of

UNTIED = JobSpec()
"""Stands for a spec without another job's weights and without a teacher."""


def specs_of(attempts: Iterable[Attempt]) -> dict[str, JobSpec]:
    """What every job started from and what was done to it, according to its latest attempt (:attr:`Attempt.links`)."""
    return {attempt.job: attempt.links for attempt in sorted(attempts, key=lambda attempt: attempt.begin_t)}


def lineage(specs: Mapping[str, JobSpec], job: str) -> list[str]:
    """The job and its ancestors, nearest first."""
    line: list[str] = []
    step: str | None = job
    while step and step not in line:
        line.append(step)
        parent = specs.get(step, {}).get("init_from")
        step = parent if isinstance(parent, str) else None
    return line


def teacher_of(spec: JobSpec) -> str | None:
    """The job that trained the job's teacher; None if it has no teacher, or one from elsewhere."""
    teacher = spec.get("teacher")
    job = teacher.get("job") if isinstance(teacher, dict) else None
    return job if isinstance(job, str) else None


def tuned_by(spec: JobSpec) -> list[str]:
    """The jobs that chose settings of the job's recipe."""
    trials = spec.get("tuned_by")
    return [trial for trial in trials if isinstance(trial, str)] if isinstance(trials, list) else []


def needed(specs: Mapping[str, JobSpec], job: str) -> list[str]:
    """The job, its ancestors, and then all jobs that tuned any of these or trained their teachers; each once."""
    found: dict[str, None] = {}
    ahead = [job]
    while ahead:
        line = [step for step in lineage(specs, ahead.pop(0)) if step not in found]
        found |= dict.fromkeys(line)
        ahead += [teacher for step in line if (teacher := teacher_of(specs.get(step, {}))) is not None]
        ahead += [trial for step in line for trial in tuned_by(specs.get(step, {})) if trial not in found]
    return list(found)


def work_for(view: CostView, route: str, replicate: int, target: int) -> list[Attempt]:
    """The attempts charged to a route's network for a target, ordered by time.

    These are the route's own for that target and for all targets, those that trained their teachers, and those of other
    routes whose weights they started from. A route that only measures has no network, and is charged only for its own
    attempts. The list is computed once and shared, so do not change it.
    """
    key = (route, replicate, target)
    if key not in view.works:
        view.works[key] = _work_for(view, route, replicate, target)
    return view.works[key]


def _work_for(view: CostView, route: str, replicate: int, target: int) -> list[Attempt]:
    own = [attempt for attempt in view.by_route.get((route, replicate), ()) if attempt.target in (target, None)]
    others = [] if words_of(route).role is Role.MEASURES else built_on(view, own)
    return sorted([*own, *others], key=lambda attempt: attempt.begin_t) if others else own


def built_on(view: CostView, attempts: Sequence[Attempt]) -> list[Attempt]:
    """Further attempts on which these (of one route) build: training of their teachers, and of weights from other routes."""
    latest, routes = {attempt.job: attempt for attempt in attempts}, {attempt.route for attempt in attempts}
    tied = view.tied
    mine = {job: attempt.links if attempt.attempt in tied else UNTIED for job, attempt in latest.items()}

    def is_elsewhere(job: str) -> bool:
        return any(each.route not in routes for each in view.by_job.get(job, ()))

    return [
        attempt for job in sorted(jobs_built_on(mine, view.links, is_elsewhere)) for attempt in view.by_job.get(job, ())
    ]


def jobs_built_on(
    mine: Mapping[str, JobSpec], specs: Mapping[str, JobSpec], is_elsewhere: Callable[[str], bool]
) -> set[str]:
    """Further jobs on which ``mine`` (of one route) build, according to the ``specs`` of all jobs.

    These are the jobs that trained their teachers, or weights that they took from another route, and all that those
    needed. ``is_elsewhere`` says whether a job is of another route.
    """
    teachers, sources = set(), set()
    for spec in mine.values():
        if not spec:
            continue
        if (teacher := teacher_of(spec)) is not None:
            teachers.add(teacher)
        if isinstance(source := spec.get("init_from"), str):
            sources.add(source)
    begun = {source for source in sources - mine.keys() if is_elsewhere(source)}
    return {step for source in teachers | begun for step in needed(specs, source)} - mine.keys()


def pruning_of(specs: Mapping[str, JobSpec], job: str) -> PruneSpec:
    """How a job's network was pruned: the ``prune`` spec of the nearest job in its lineage, empty if none has one."""
    for name in lineage(specs, job):
        prune = specs.get(name, {}).get("prune")
        if isinstance(prune, dict):
            return prune
    return {}


def method_name(prune: PruneSpec) -> str:
    """The method in a ``prune`` spec (older ones have only scope and criterion); empty if it names none."""
    if prune.get("method"):
        return str(prune["method"])
    parts = [str(prune[key]) for key in ("scope", "criterion") if prune.get(key)]
    return "_".join(parts)
