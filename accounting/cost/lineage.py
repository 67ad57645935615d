"""Which jobs led to a network: a job, what it started from (``init_from``), what that started from, and so on.

What a job learned from (``teacher``) is not an ancestor of its network, but was needed for it too, and is paid for like one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from accounting.cost.values import Attempt, CostView
from accounting.ledger.specs import JobSpec, PruneSpec
from accounting.words.names import Role, words_of


def specs_of(attempts: Iterable[Attempt]) -> dict[str, JobSpec]:
    """What every job began from and what was done to it, as its latest attempt has it (:attr:`Attempt.links`)."""
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
    """The job that trained the job's teacher; None where it has none, or one from elsewhere."""
    teacher = spec.get("teacher")
    job = teacher.get("job") if isinstance(teacher, dict) else None
    return job if isinstance(job, str) else None


def tuned_by(spec: JobSpec) -> list[str]:
    """The jobs that chose settings of the job's recipe."""
    trials = spec.get("tuned_by")
    return [trial for trial in trials if isinstance(trial, str)] if isinstance(trials, list) else []


def needed(specs: Mapping[str, JobSpec], job: str) -> list[str]:
    """The job, its ancestors, and then all that tuned or trained the teachers of any of these; each once."""
    found: dict[str, None] = {}
    ahead = [job]
    while ahead:
        line = [step for step in lineage(specs, ahead.pop(0)) if step not in found]
        found |= dict.fromkeys(line)
        ahead += [teacher for step in line if (teacher := teacher_of(specs.get(step, {}))) is not None]
        ahead += [trial for step in line for trial in tuned_by(specs.get(step, {})) if trial not in found]
    return list(found)


def work_for(view: CostView, route: str, replicate: int, target: int) -> list[Attempt]:
    """The attempts that a route's network for a target is charged with, in the order of time.

    Its own for that target and for all, and those that trained a teacher of these, or that other routes did and these
    began from. A route that only measures has no network, and is charged with nothing but its own. The list is shared:
    it is found once.
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
    """The attempts, beside these (of one route), that trained their teachers, or what they began from in other routes."""
    teachers, sources = set(), set()
    for attempt in attempts:
        links = attempt.links
        if not links:
            continue
        if (teacher := teacher_of(links)) is not None:
            teachers.add(teacher)
        if isinstance(source := links.get("init_from"), str):
            sources.add(source)
    if not teachers | sources:
        return []
    mine, routes = {attempt.job for attempt in attempts}, {attempt.route for attempt in attempts}
    begun = {s for s in sources - mine if any(each.route not in routes for each in view.by_job.get(s, ()))}
    if not teachers | begun:
        return []
    jobs = {step for source in teachers | begun for step in needed(view.links, source)} - mine
    return [attempt for job in sorted(jobs) for attempt in view.by_job.get(job, ())]


def pruning_of(specs: Mapping[str, JobSpec], job: str) -> PruneSpec:
    """How the network of a job was pruned: the ``prune`` of its nearest ancestor that has one; empty where none has."""
    for name in lineage(specs, job):
        prune = specs.get(name, {}).get("prune")
        if isinstance(prune, dict):
            return prune
    return {}


def method_name(prune: PruneSpec) -> str:
    """The method of a ``prune`` spec; older ones have only a scope and a criterion. Empty where it names none."""
    if prune.get("method"):
        return str(prune["method"])
    parts = [str(prune[key]) for key in ("scope", "criterion") if prune.get(key)]
    return "_".join(parts)
