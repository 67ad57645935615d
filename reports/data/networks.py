"""The delivered networks of a study, and what each one cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from accounting.cost.attempts import CostView, Job
from accounting.cost.lineage import needed
from accounting.cost.shares import HEADLINE_POLICY, POLICIES, jobs_cost_h, route_cost_h
from accounting.ledger.outcomes import Int8Record, JobOutcome, TimingRecord
from accounting.ledger.records import Phase, Status
from accounting.ledger.specs import JobSpec
from accounting.study.facts import StudyFacts

T = TypeVar("T")


@dataclass(frozen=True)
class Network:
    """One delivered network. Accuracies are fractions, ``cost_h`` device-hours by charge policy.

    ``sparsity`` is the share of weights that are zero. ``int8``, ``size_bytes`` and ``latency`` are what the evaluation
    or the exports measured; they are empty if nothing was measured.
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
    int8: Int8Record = field(default_factory=Int8Record)
    size_bytes: dict[str, int | None] = field(default_factory=dict)
    latency: TimingRecord = field(default_factory=TimingRecord)
    image_size: int | None = None
    """Side of its input images in pixels, if it is not that of the dataset's images."""

    def top1_per_hour(self, policy: str = HEADLINE_POLICY) -> float | None:
        """Test accuracy (fraction) per device-hour; None if nothing was charged or tested."""
        cost = self.cost_h[policy]
        return None if self.test_top1 is None or cost <= 0 else self.test_top1 / cost


def delivered_networks(view: CostView, info: StudyFacts) -> tuple[Network, ...]:
    """The networks of all finished evaluations, ordered by target, label and replicate.

    If a resumed study delivered a better network in place of another, the later one counts.
    """
    charges, exported = _Charges(view, info.num_targets), _exported(view)
    latest: dict[tuple[int, str, int], Network] = {}
    for job in sorted(view.jobs, key=_ended_t(view)):
        if job.phase == Phase.EVALUATE and job.target is not None and isinstance(job.outcome, dict):
            trained = job.outcome.get("from_job") or _spec(view, job).get("init_from")
            delivery = str(trained), str(job.outcome.get("label", job.route))
            found = merged_exports(job.outcome, exported.get(delivery, ()))
            network = _network(charges, job, job.target, found)
            latest[network.target, network.label, network.replicate] = network
    return tuple(latest[key] for key in sorted(latest))


def merged_exports(evaluated: JobOutcome, exported: Iterable[JobOutcome]) -> JobOutcome:
    """The outcome of an evaluation merged with those of its network's exports, in the form of older evaluations."""
    merged = evaluated
    for outcome in exported:
        found = outcome.copy()
        found.pop("export", None)
        merged = {
            **found,
            **merged,
            "size_bytes": _by_file(merged.get("size_bytes")) | _by_file(outcome.get("size_bytes")),
            "left_out": _by_file(merged.get("left_out")) | _by_file(outcome.get("left_out")),
        }
    return merged


def _exported(view: CostView) -> dict[tuple[str, str], list[JobOutcome]]:
    """The outcomes of finished exports, by the job that trained the network and the label under which it was delivered."""
    found: dict[tuple[str, str], list[JobOutcome]] = {}
    for job in view.jobs:
        if job.phase == Phase.EXPORT and isinstance(job.outcome, dict):
            spec = _spec(view, job)
            deliver = spec.get("deliver")
            label = deliver.get("label") if isinstance(deliver, dict) else None
            found.setdefault((str(spec.get("init_from")), str(label)), []).append(job.outcome)
    return found


def _spec(view: CostView, job: Job) -> JobSpec:
    return view.links.get(job.job, JobSpec())


class _Charges:
    """Computes what a network is charged."""

    def __init__(self, view: CostView, num_targets: int) -> None:
        self._view, self._num_targets = view, num_targets
        self._specs = view.links

    def of_route(self, route: str, replicate: int, target: int) -> dict[str, float]:
        """Cost by policy of everything that the route spent on the replicate and target."""
        return {
            policy: route_cost_h(self._view, policy, route, replicate, target, self._num_targets) for policy in POLICIES
        }

    def of_lineage(self, jobs: Iterable[str], target: int) -> dict[str, float]:
        """Cost by policy of these jobs and all jobs that they needed."""
        line = dict.fromkeys(name for job in jobs for name in needed(self._specs, job))
        return {policy: jobs_cost_h(self._view, line, policy, target, self._num_targets) for policy in POLICIES}


def _ended_t(view: CostView) -> Callable[[Job], float]:
    ends = {attempt.attempt: attempt.end_t for attempt in view.attempts if attempt.status is Status.OK}
    return lambda job: min((ends[attempt] for attempt in job.attempts if attempt in ends), default=0.0)


def _network(charges: _Charges, job: Job, target: int, outcome: JobOutcome) -> Network:
    label = str(outcome.get("label", job.route))
    from_job = str(outcome.get("from_job") or "")
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
        # A route's own network pays for the whole route, any other for the jobs that led to it.
        cost_h=charges.of_route(job.route, job.replicate, target)
        if label == job.route
        else charges.of_lineage((job.job, *([from_job] if from_job else [])), target),
        sparsity=_fraction(outcome.get("sparsity")),
        int8=int8 if isinstance(int8 := outcome.get("int8"), dict) else Int8Record(),
        size_bytes=_by_file(outcome.get("size_bytes")),
        latency=latency if isinstance(latency := outcome.get("latency"), dict) else TimingRecord(),
        image_size=_count(outcome.get("image_size")),
    )


def _fraction(value: object) -> float | None:
    """A number between 0 and 1; None for any other value, which no evaluation gives."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 0.0 <= value <= 1.0 else None


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _by_file(value: dict[str, T] | None) -> dict[str, T]:
    return dict(value) if isinstance(value, dict) else {}
