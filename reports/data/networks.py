"""The delivered networks of a study: what the user takes away, and what each cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accounting.cost.attempts import CostView, Job
from accounting.cost.lineage import Spec, lineage, specs_of
from accounting.cost.shares import HEADLINE_POLICY, POLICIES, jobs_cost_h, route_cost_h
from accounting.ledger.records import Phase, Status
from accounting.study.facts import StudyFacts


@dataclass(frozen=True)
class Network:
    """One delivered network. Accuracies are fractions, ``cost_h`` device-hours by charge policy.

    ``sparsity`` is the share of weights that are zero. ``int8``, ``size_bytes`` and ``latency`` are what the evaluation
    or the exports measured of them, empty where they did not.
    """

    label: str
    route: str
    target: int
    replicate: int
    description: str
    val_top1: float | None
    test_top1: float | None
    macs: int | None
    dense_macs: int | None
    params: int | None
    nonzero_params: int | None
    model_dir: str
    from_job: str
    job: str
    cost_h: dict[str, float]
    sparsity: float | None = None
    int8: dict[str, Any] = field(default_factory=dict)
    size_bytes: dict[str, Any] = field(default_factory=dict)
    latency: dict[str, Any] = field(default_factory=dict)

    def top1_per_hour(self, policy: str = HEADLINE_POLICY) -> float | None:
        """Test accuracy (fraction) per device-hour; None where nothing was charged or nothing tested."""
        cost = self.cost_h[policy]
        return None if self.test_top1 is None or cost <= 0 else self.test_top1 / cost


def delivered_networks(view: CostView, info: StudyFacts) -> tuple[Network, ...]:
    """The outcomes of the finished evaluations, ordered by target, label and replicate.

    Where a resumed study has delivered a better network in the place of another, the later one is what is delivered.
    """
    specs, exported = specs_of(view.attempts), _exported(view)
    latest: dict[tuple[int, str, int], Network] = {}
    for job in sorted(view.jobs, key=_ended_t(view)):
        if job.phase == Phase.EVALUATE and job.target is not None and isinstance(job.outcome, dict):
            found = merged_exports(job.outcome, _exports_of(job.job, exported))
            network = _network(view, info, specs, job, job.target, found)
            latest[network.target, network.label, network.replicate] = network
    return tuple(latest[key] for key in sorted(latest))


def merged_exports(evaluated: Mapping[str, Any], exported: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The outcome of an evaluation with what its network's exports have found, as one evaluation had it before."""
    merged = dict(evaluated)
    for outcome in exported:
        for key in ("size_bytes", "left_out"):
            merged[key] = {**_object(merged.get(key)), **_object(outcome.get(key))}
        merged |= {key: value for key, value in outcome.items() if key not in merged and key != "export"}
    return merged


def _exported(view: CostView) -> dict[str, dict[str, Any]]:
    """The outcomes of the finished exports by name."""
    return {job.job: job.outcome for job in view.jobs if job.phase == Phase.EXPORT and isinstance(job.outcome, dict)}


def _exports_of(evaluation: str, exported: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The outcomes of the exports that follow an evaluation, which are named after it and their kind."""
    return [found for name, found in exported.items() if name == f"{evaluation}-export-{found.get('export')}"]


def _ended_t(view: CostView) -> Callable[[Job], float]:
    ends = {attempt.attempt: attempt.end_t for attempt in view.attempts if attempt.status is Status.OK}
    return lambda job: min((ends[attempt] for attempt in job.attempts if attempt in ends), default=0.0)


def _network(
    view: CostView, info: StudyFacts, specs: Mapping[str, Spec], job: Job, target: int, outcome: dict[str, Any]
) -> Network:
    label = str(outcome.get("label", job.route))
    from_job = str(outcome.get("from_job") or "")
    # A route's own network pays for the whole route, any other for the jobs that led to it.
    jobs = {job.job, *lineage(specs, job.job), *lineage(specs, from_job)}
    return Network(
        label=label,
        route=job.route,
        target=target,
        replicate=job.replicate,
        description=str(outcome.get("description") or ""),
        val_top1=_fraction(outcome.get("val_top1")),
        test_top1=_fraction(outcome.get("test_top1")),
        macs=_count(outcome.get("macs")),
        dense_macs=_count(outcome.get("dense_macs")),
        params=_count(outcome.get("params")),
        nonzero_params=_count(outcome.get("nonzero_params")),
        model_dir=str(outcome.get("model_dir") or ""),
        from_job=from_job,
        job=job.job,
        cost_h={
            policy: route_cost_h(view, policy, job.route, job.replicate, target, info.num_targets)
            if label == job.route
            else jobs_cost_h(view, jobs, policy, target, info.num_targets)
            for policy in POLICIES
        },
        sparsity=_fraction(outcome.get("sparsity")),
        int8=_object(outcome.get("int8")),
        size_bytes=_object(outcome.get("size_bytes")),
        latency=_object(outcome.get("latency")),
    )


def _fraction(value: Any) -> float | None:
    """A share between 0 and 1; None for anything else, which no evaluation gives."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0.0 <= value <= 1.0 else None


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
