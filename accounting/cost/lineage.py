"""Which jobs led to a network: a job, what it started from (``init_from``), what that started from, and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accounting.cost.attempts import Attempt
from accounting.ledger.specs import JobSpec, PruneSpec


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
