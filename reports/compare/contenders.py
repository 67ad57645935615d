"""Who competes: each route (with one method) and each control that delivers, with what it achieved and was charged.

A route pays for everything that it did for a replicate and target. If it prunes by several methods, each method is a
contender of its own and pays for the route's common work and its own jobs. A control pays for the jobs that led to its
network and, if it takes its structure from another network, for the jobs that led to that. A contender with a teacher
trained in this study also pays for that training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accounting.cost.attempts import Attempt, CostView
from accounting.cost.charges import Part
from accounting.cost.lineage import built_on, method_name, needed, pruning_of
from accounting.cost.shares import HEADLINE_POLICY, POLICIES, charged_rate, part_rate, rates_of, spent_h, with_declared
from accounting.ledger.records import Phase, Status
from accounting.study.facts import StudyFacts
from accounting.words.names import COMPARED, Role, method_label, method_of, routes_of, without_method
from reports.compare.charges import Charges, Parts
from reports.compare.judge import Effort
from reports.compare.reach import NO_SWAY, SLOPE_STEP, Common, Floats, Steps, common_level, slope_of, sway_of
from reports.compare.replay import Replayed, replay
from reports.data.networks import Network

ENDED = "done"
"""The reason with which a session closes once the study has ended."""


@dataclass(frozen=True)
class Contender:
    """A way to get a network: a route (with one of its methods if there are several) or a control."""

    label: str
    route: str
    method: str | None = None
    is_control: bool = False


class Contenders:
    """The contenders of a study, read from its ledger once.

    If the parent's cost is declared, it replaces the cost of pretraining in all charges, but not in budgets.
    """

    def __init__(
        self, view: CostView, info: StudyFacts, networks: Iterable[Network], num_classes: int | None = None
    ) -> None:
        self.view, self.info, self.networks, self.num_classes = view, info, tuple(networks), num_classes
        self._charged = with_declared(view, info.declared_parent)
        self.specs = view.links
        self.replicates = sorted({*range(info.replicates), *(a.replicate for a in view.attempts)})
        self._replayed: dict[tuple[str, int, int], dict[str, Replayed]] = {}
        self._on_parent: set[tuple[str, int, int]] = set()
        self._methods: dict[str, list[str]] = {}
        self._delivered: dict[tuple[str, int], dict[int, Network]] = {}
        self._labels = {(n.label, n.target, n.replicate) for n in self.networks}

    def at(self, target: int) -> list[Contender]:
        """The contenders at a target: the headline's pair, then other routes, then controls."""
        main = (*COMPARED, *self.info.challengers)
        started = {route for route, _ in self._attempts}
        routes = [route for route in main if route in started and route in self.info.routes]
        found = [contender for route in routes for contender in self._of_route(route)]
        outside = {*main, *routes_of(Role.MEASURES)}
        controls = {n.label: n.route for n in self.networks if n.target == target and n.route not in outside}
        found += [Contender(label, route, is_control=True) for label, route in sorted(controls.items())]
        return sorted(found, key=lambda contender: self._rank(contender.label))

    @cached_property
    def pair(self) -> tuple[str, str]:
        """Labels of the headline's pair, as declared; of a route's several methods, the first one unless one is named."""
        return self._declared(self.info.pair[0]), self._declared(self.info.pair[1])

    def delivered(self, contender: Contender, target: int) -> dict[int, Network]:
        """The contender's delivered networks, by replicate."""
        key = contender.label, target
        if key not in self._delivered:
            self._delivered[key] = {
                n.replicate: n
                for n in self.networks
                if n.target == target and n.route == contender.route and self._is_of(n, contender)
            }
        return self._delivered[key]

    def with_network(self, contender: Contender, target: int) -> list[int]:
        """Replicates in which it has a network. Of several methods, the one delivered may stand for all."""
        return [r for r in self.replicates if self._has_network(contender, target, r)]

    def final(self, contender: Contender, target: int) -> Floats:
        """Final accuracies by replicate; NaN if no network was delivered or measured."""
        replayed = {r: self._replay(contender, target, r)[POLICIES[0]] for r in self.with_network(contender, target)}
        return np.array([float(replayed[r].steps.final()) if r in replayed else np.nan for r in self.replicates])

    def common(self, target: int) -> Common:
        """The accuracy at which contenders are compared at a target, and how far each replicate pulls it.

        It comes from the headline's pair or, if one of the two does not compete, from all routes that do.
        """
        here = {one.label: one for one in self.at(target)}
        chosen = [here[label] for label in self.pair if label in here]
        if len(chosen) < len(self.pair):
            chosen = [one for one in here.values() if not one.is_control]
        finals = [self.entered(one, target) for one in chosen]
        level = common_level(finals, self.info.margin) if len(chosen) > 1 else None
        sway = NO_SWAY if level is None else sway_of([self.final(one, target) for one in chosen])
        return Common(level, sway)

    def effort(self, contender: Contender, target: int, policy: str, common: Common, margin: float) -> Effort:
        """Its accuracies and costs by replicate, under a charge policy; nothing is reached without a common accuracy."""
        replayed = [self._replay(contender, target, r)[policy] for r in self.replicates]
        entered = [self._is_done(contender, target, r) for r in self.replicates]
        level = np.inf if common.level is None else common.level
        levels = np.array([level, level - SLOPE_STEP, level + SLOPE_STEP] if common.sway.size else [level])
        costs = np.stack([_costs(found.steps, levels, margin) for found in replayed], axis=-1)
        return Effort(
            self.final(contender, target),
            costs[0],
            np.array([found.spent_h if done else np.nan for found, done in zip(replayed, entered, strict=True)]),
            slope_of(costs[1], costs[2]) if common.sway.size else NO_SWAY,
            common.sway,
        )

    def charges(self, contender: Contender, target: int, common: Common, margin: float) -> Charges:
        """What it was charged, in parts and by replicate: up to the common accuracy, and in total."""
        level = np.inf if common.level is None else common.level
        levels = [level, level - SLOPE_STEP, level + SLOPE_STEP] if common.sway.size else [level]
        at = [self._parts_at(contender, target, one, margin) for one in levels]
        spent: list[list[float]] = []
        for r in self.replicates:
            in_all = [self._replay(contender, target, r)[part].spent_h for part in Part]
            spent.append(in_all if self._is_done(contender, target, r) else [np.nan] * len(Part))
        return Charges(
            contender.label,
            self.final(contender, target),
            at[0],
            Parts(*np.array(spent, dtype=np.float64).T),
            np.array([(contender.label, target, r) in self._on_parent for r in self.replicates], dtype=bool),
            around=(at[1], at[2]) if common.sway.size else None,
            sway=common.sway,
        )

    def _parts_at(self, contender: Contender, target: int, level: float, margin: float) -> Parts:
        """What it was charged up to an accuracy, in parts and by replicate."""
        reached: list[list[float]] = []
        for r in self.replicates:
            replayed = self._replay(contender, target, r)
            moment = replayed[HEADLINE_POLICY].steps.moment_near(level, margin)
            missed = [0.0, 0.0, np.inf]
            reached.append(missed if moment is None else [replayed[part].steps.cost_at(moment) for part in Part])
        return Parts(*np.array(reached, dtype=np.float64).T)

    def top1_within(self, contender: Contender, target: int, cost_h: float) -> Floats:
        """The best smoothed accuracy for at most ``cost_h`` device-hours, all work charged, by replicate; NaN: none yet."""
        steps = [self._replay(contender, target, r)[HEADLINE_POLICY].steps for r in self.replicates]
        return np.array([one.top1_within(cost_h) for one in steps], dtype=np.float64)

    def costs_at(
        self, contender: Contender, target: int, policy: str, levels: Floats, margin: float = 0.0
    ) -> tuple[Floats, Floats]:
        """Device-hours to reach each accuracy (replicates × levels; infinite if not reached), and the total spent.

        The total is by replicate, NaN if the contender is not done. A replicate that ended short of an accuracy by at most
        ``margin`` counts with the cost at its end, as in :meth:`reports.compare.reach.Steps.cost_near`.
        """
        replayed = [self._replay(contender, target, r)[policy] for r in self.replicates]
        done = [self._is_done(contender, target, r) for r in self.replicates]
        return (
            np.stack([_costs(found.steps, levels, margin) for found in replayed]),
            np.array([found.spent_h if is_done else np.nan for found, is_done in zip(replayed, done, strict=True)]),
        )

    def entered(self, contender: Contender, target: int) -> Floats:
        """Final accuracies of the replicates in which it is done."""
        final = self.final(contender, target)
        return final[[self._is_done(contender, target, r) for r in self.replicates]]

    @cached_property
    def _attempts(self) -> dict[tuple[str, int], list[Attempt]]:
        found: dict[tuple[str, int], list[Attempt]] = defaultdict(list)
        for attempt in sorted(self._charged.attempts, key=lambda attempt: attempt.begin_t):
            found[attempt.route, attempt.replicate].append(attempt)
        return found

    @cached_property
    def _by_job(self) -> dict[str, list[Attempt]]:
        found: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in self._charged.attempts:
            found[attempt.job].append(attempt)
        return found

    @cached_property
    def _method_of(self) -> dict[str, str]:
        """The pruning method of each job; empty for work shared by all methods."""
        return {
            job: method_name(pruning_of(self.specs, job)) if "prune" in spec or "init_from" in spec else ""
            for job, spec in self.specs.items()
        }

    @cached_property
    def _over(self) -> set[tuple[str, int]]:
        """(route, replicate) pairs in which nothing more will be done: the study has ended, or the budget is spent."""
        sessions, running = self.view.sessions, {a.route for a in self.view.attempts if a.status is Status.RUNNING}
        if sessions and sessions[-1].reason == ENDED:
            return set(self._attempts)
        budget = self.info.budget_h
        return {
            key for key, h in spent_h(self.view).items() if h >= budget.get(key[0], np.inf) and key[0] not in running
        }

    def methods(self, route: str) -> list[str]:
        """A route's pruning methods: the config's first one, then the others in the order in which they began."""
        if route not in self._methods:
            jobs = (a.job for (name, _), attempts in self._attempts.items() if name == route for a in attempts)
            found = [method for method in dict.fromkeys(self._method_of[job] for job in jobs) if method]
            first = self.info.first_methods.get(route)
            self._methods[route] = sorted(found, key=lambda method: method != first)
        return self._methods[route]

    def _of_route(self, route: str) -> list[Contender]:
        methods = self.methods(route)
        if len(methods) < 2:
            return [Contender(route, route)]
        return [Contender(method_label(route, method), route, method) for method in methods]

    def _declared(self, label: str) -> str:
        route, named = without_method(label), method_of(label)
        methods = self.methods(route)
        if len(methods) < 2:
            return route
        return method_label(route, str(named) if str(named) in methods else methods[0])

    def _rank(self, label: str) -> tuple[int, str]:
        return (self.pair.index(label), "") if label in self.pair else (len(self.pair), "")

    def _is_of(self, network: Network, contender: Contender) -> bool:
        if contender.is_control or contender.method is None:
            return network.label == contender.label
        return self._method_of.get(network.job, "") == contender.method

    def _is_done(self, contender: Contender, target: int, replicate: int) -> bool:
        if self._has_network(contender, target, replicate):
            return True
        return not contender.is_control and (contender.route, replicate) in self._over

    def _has_network(self, contender: Contender, target: int, replicate: int) -> bool:
        """Whether it has a network. Of several methods, all of them trained, one may be delivered for all."""
        if replicate in self.delivered(contender, target):
            return True
        return contender.method is not None and (contender.route, target, replicate) in self._labels

    def _replay(self, contender: Contender, target: int, replicate: int) -> dict[str, Replayed]:
        key = contender.label, target, replicate
        if key not in self._replayed:
            attempts = self._paid(contender, target, replicate)
            charged = (self._rate(policy, target) for policy in POLICIES)
            rates = rates_of(attempts, *charged, *(self._part(part, target) for part in Part))
            policies, parts = rates[: len(POLICIES)], rates[len(POLICIES) :]
            if any(a.target is None and a.phase == Phase.PRETRAIN for a in attempts):
                self._on_parent.add(key)
            self._replayed[key] = replay(
                attempts, dict(zip(POLICIES, policies, strict=True)), dict(zip(Part, parts, strict=True)),
                self.view.progress, self.specs, contender.route, target,
            )  # fmt: skip
        return self._replayed[key]

    def _rate(self, policy: str, target: int) -> Callable[[Attempt], float]:
        return lambda attempt: charged_rate(self.view, attempt, policy, target, self.info.num_targets)

    def _part(self, part: Part, target: int) -> Callable[[Attempt], float]:
        return lambda attempt: part_rate(self.view, attempt, part, target)

    def _paid(self, contender: Contender, target: int, replicate: int) -> list[Attempt]:
        if contender.is_control:
            network = self.delivered(contender, target).get(replicate)
            jobs = [] if network is None else self._chain([network.job, network.from_job])
            found = [attempt for job in jobs for attempt in self._by_job[job]]
            return sorted(found, key=lambda attempt: attempt.begin_t)
        own = [
            attempt
            for attempt in self._attempts[contender.route, replicate]
            if attempt.target in (target, None)
            and attempt.phase != Phase.EXPORT
            and (contender.method is None or self._method_of[attempt.job] in ("", contender.method))
        ]
        return sorted([*own, *built_on(self._charged, own)], key=lambda attempt: attempt.begin_t)

    def _chain(self, jobs: Sequence[str]) -> list[str]:
        """The jobs and all jobs that led to them or to the structures that they take from others."""
        chain = dict.fromkeys(step for job in jobs if job for step in needed(self.specs, job))
        taken = [self.specs.get(job, {}).get("structure_from") for job in chain]
        given = [step for source in taken if isinstance(source, str) for step in needed(self.specs, source)]
        return [job for job in dict.fromkeys([*chain, *given]) if job in self._by_job]


def _costs(steps: Steps, levels: Floats, margin: float) -> Floats:
    final = float(steps.final())
    asked = np.where(final >= levels - margin, np.fmin(levels, final), levels)
    return np.broadcast_to(steps.cost_of(asked), levels.shape)
