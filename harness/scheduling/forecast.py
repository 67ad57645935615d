"""What jobs will cost, and what a route's networks still need, so that a budget is not spent before they are delivered.

A job's expected cost is its planned device-seconds times the *pace*: measured over planned seconds of finished jobs, those
of its own route and phase if there are any, otherwise of all. What a target's network still needs is the chain of jobs that
leads to it in the plan, from the first that serves this target alone: retraining and evaluation, or pruning, fine-tuning
and evaluation, and the trials of each tuned recipe.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from accounting.cost.so_far import SpentAttempt, SpentView
from accounting.cost.values import Attempt, CostView
from accounting.ledger.records import Phase, Status
from accounting.words.names import DeviceKind
from harness.jobs.job import Job
from harness.jobs.spec import from_json
from harness.jobs.work import Deliver

SHARED = (Phase.PRETRAIN, Phase.SUPERNET)
Kind = tuple[str, str]
"""Route and phase."""
Claims = Mapping[tuple[int | None, Phase], int]
"""How many jobs of one route and replicate are done or under way, by target and phase."""
Planned = Callable[[Attempt | SpentAttempt], float | None]
"""Gives the planned device-seconds of an attempt's job."""


@dataclass(frozen=True)
class Step:
    """A job of the plan, with its planned device-seconds."""

    route: str
    phase: Phase
    planned_s: float
    trials: tuple[Step, ...] = ()
    """The trials that choose the settings of its recipe."""


class Forecast:
    """Costs by plan and pace. Until a job has finished, no cost is known, unless a pace is given."""

    def __init__(
        self, planned: Iterable[tuple[Job, float]], price_s: Callable[[Job], float], pace: float | None = None
    ) -> None:
        self._price_s = price_s
        self._pace, self._paces = pace, dict[Kind, float]()
        self._chains: dict[tuple[str, int], dict[int, list[Step]]] = defaultdict(dict)
        """Steps by route and replicate, then by target."""
        self._shared: dict[tuple[str, int], list[Step]] = defaultdict(list)
        """What a route does once for all its targets."""
        self._first: dict[tuple[str, int], Step] = {}
        """The first job of a search."""
        self._done: dict[tuple[str, int], Counter[tuple[int | None, Phase]]] = defaultdict(Counter)
        """How many jobs have finished according to the ledger, by route and replicate, then by target and phase."""
        self._priced: dict[str, float | None] = {}
        """Planned seconds by finished attempt; each is priced once."""
        self._prices: dict[str, float] = {}
        """Planned seconds by job asked about; each is priced once."""
        self._learned, self._num_done = _Learned(), 0
        steps = list(planned)
        by_name = {job.name: (job, seconds) for job, seconds in steps}
        for job, seconds in steps:
            key, step = (job.route, job.replicate), Step(job.route, job.phase, seconds)
            if job.phase in SHARED:
                self._shared[key].append(step)
            elif job.phase == Phase.SEARCH:
                self._first.setdefault(key, step)
            if isinstance(job.work, Deliver) and job.work.label == job.route and job.target is not None:
                self._chains[key].setdefault(job.target, list(_chain(job, by_name)))

    def learn(self, view: CostView | SpentView) -> None:
        """Take the paces from the finished jobs of a ledger; every attempt at them counts.

        Of a view that grows, only the new part is read.
        """
        if not isinstance(view, SpentView) or view.era != self._learned.era:
            self._learned, self._num_done = _Learned(), 0
            self._done.clear()
        live: Sequence[Attempt | SpentAttempt] = ()
        if isinstance(view, SpentView):
            live = view.live
            self._learned.take(view.settled[self._learned.num_settled :], view.device_kind, self._planned_s)
            self._learned.era, self._learned.num_settled = view.era, len(view.settled)
        else:
            self._learned.take(view.attempts, view.device_kind, self._planned_s)
        now = self._learned.with_live(live, view.device_kind, self._planned_s)
        for job in view.jobs[self._num_done :]:
            if job.status is Status.OK:
                self._done[job.route, job.replicate][job.target, Phase(job.phase)] += 1
        self._num_done = len(view.jobs)
        whole = [sum(pair[0] for pair in now.values()), sum(pair[1] for pair in now.values())]
        self._pace = whole[0] / whole[1] if whole[1] > 0 else self._pace
        self._paces = {kind: pair[0] / pair[1] for kind, pair in now.items() if pair[1] > 0}

    def _planned_s(self, attempt: Attempt | SpentAttempt) -> float | None:
        """The planned device-seconds of an attempt's job; None if an older version wrote the job and it cannot be priced."""
        if attempt.attempt not in self._priced:
            try:
                self._priced[attempt.attempt] = self._price_s(from_json(attempt.spec))
            except (KeyError, ValueError, TypeError):
                self._priced[attempt.attempt] = None
        return self._priced[attempt.attempt]

    def done(self, route: str, replicate: int) -> Counter[tuple[int | None, Phase]]:
        """How many jobs of a route and replicate have finished, by target and phase."""
        return self._done[route, replicate]

    def planned_s(self, job: Job) -> float:
        """The planned device-seconds of a job."""
        if job.name not in self._prices:
            self._prices[job.name] = self._price_s(job)
        return self._prices[job.name]

    def cost_s(self, job: Job) -> float | None:
        """Device-seconds that a job is expected to take; None if no pace is known."""
        return self._at_pace(job.route, job.phase, self.planned_s(job))

    def sum_s(self, route: str, planned_s: Mapping[Phase, float]) -> float:
        """Device-seconds that jobs of a route are expected to take together, given what is planned for each phase."""
        return sum(self._at_pace(route, phase, seconds) or 0.0 for phase, seconds in planned_s.items())

    def reserve_s(self, route: str, replicate: int, limit_s: float, claims: Claims) -> float:
        """Device-seconds to hold back for the remaining jobs of those networks of the route that the budget can pay for.

        These are the cheapest chains that fit into the whole budget, after the work that all share and one candidate; at
        least one chain.
        """
        key = route, replicate
        chains = self._chains.get(key, {})
        cost = {target: self._left_s(chain, target, {}) for target, chain in chains.items()}
        before = [
            *self._shared[route, replicate],
            *([self._first[route, replicate]] if (route, replicate) in self._first else []),
        ]
        room_s = limit_s - sum(self._of_step_s(step) for step in before)
        reserve_s = 0.0
        for place, target in enumerate(sorted(chains, key=lambda target: cost[target])):
            room_s -= cost[target]
            if place > 0 and room_s < 0:
                break
            reserve_s += self._left_s(chains[target], target, claims)
        return reserve_s

    def _left_s(self, chain: Sequence[Step], target: int, claims: Claims) -> float:
        claimed, left = Counter({phase: count for (of, phase), count in claims.items() if of == target}), list[Step]()
        trials: list[Step] = []
        for step in chain:
            if claimed[step.phase] > 0:
                claimed[step.phase] -= 1
                claimed[Phase.TUNE] -= len(step.trials)
            else:
                left.append(step)
                trials += step.trials
        left += trials[max(0, claimed[Phase.TUNE]) :]
        return sum(self._of_step_s(step) for step in left)

    def _of_step_s(self, step: Step) -> float:
        return self._at_pace(step.route, step.phase, step.planned_s) or 0.0

    def _at_pace(self, route: str, phase: Phase, planned_s: float) -> float | None:
        pace = self._paces.get((route, phase), self._pace)
        return None if pace is None else pace * planned_s


@dataclass
class _Learned:
    """Measured and planned seconds of finished jobs, by route and phase."""

    era: int = -1
    num_settled: int = 0
    """How many attempts of a view, in its era ``era``, have been added."""
    measured_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Allocated seconds by job."""
    kinds: dict[str, Kind] = field(default_factory=dict)
    """Route and phase of each job that is in ``sums``."""
    sums: dict[Kind, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))

    def take(self, attempts: Iterable[Attempt | SpentAttempt], counted: DeviceKind, planned: Planned) -> None:
        """Add the attempts on the kind of device that is counted."""
        for attempt in attempts:
            if attempt.device_kind != counted:
                continue
            self.measured_s[attempt.job] += attempt.allocated_s
            if attempt.job in self.kinds:
                self.sums[self.kinds[attempt.job]][0] += attempt.allocated_s
            elif attempt.status is Status.OK and (planned_s := planned(attempt)) is not None:
                kind = self.kinds[attempt.job] = attempt.route, attempt.phase
                self.sums[kind][0] += self.measured_s[attempt.job]
                self.sums[kind][1] += planned_s

    def with_live(
        self, attempts: Sequence[Attempt | SpentAttempt], counted: DeviceKind, planned: Planned
    ) -> Mapping[Kind, list[float]]:
        """The sums, including attempts whose cost is not settled yet."""
        jobs = {attempt.job for attempt in attempts}
        known = {job: self.kinds[job] for job in jobs if job in self.kinds}
        measured_s = defaultdict(float, {job: self.measured_s[job] for job in jobs if job in self.measured_s})
        sums: dict[Kind, list[float]] = defaultdict(
            lambda: [0.0, 0.0], {k: list(pair) for k, pair in self.sums.items()}
        )
        found = _Learned(measured_s=measured_s, kinds=known, sums=sums)
        found.take(attempts, counted, planned)
        return found.sums


def _chain(last: Job, by_name: Mapping[str, tuple[Job, float]]) -> Iterable[Step]:
    """A job and its predecessors of the same route and target, the last first."""
    found = by_name.get(last.name)
    while found is not None and (found[0].target, found[0].route) == (last.target, last.route):
        job, seconds = found
        trials = tuple(Step(job.route, Phase.TUNE, by_name[name][1]) for name in job.tuned_by if name in by_name)
        yield Step(job.route, job.phase, seconds, trials)
        found = by_name.get(job.source or "")
