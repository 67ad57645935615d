"""Verdicts in words: which contender is cheaper, why costs were not compared, and which is the cheapest of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accounting.words.names import PRUNE, label_text
from accounting.words.task import task
from reports.compare.guards import LEAST_REACHED, Guarded, Obstacle
from reports.compare.rule import ALPHA, SHOWN, TIE_FACTOR, Verdict
from reports.compare.values import CheapestOfAll, CostComparison, Instead, PooledCosts
from reports.statistics import Estimate
from reports.words.wording import SAYS_NOTHING, ends_clause, number, percent, ratio_says_nothing

Costs = CostComparison | PooledCosts


def way_text(label: str) -> str:
    """The name of a contender as a way of getting a network."""
    return "pruning" if label == PRUNE else label_text(label)


def verdict_text(costs: Costs, challenger: str) -> str:
    """The verdict as text."""
    if costs.verdict in SHOWN:
        name = way_text(PRUNE if costs.verdict is Verdict.BASE else challenger)
        return f"{name} is cheaper" + (f" by more than {TIE_FACTOR}×" if costs.by_more else "")
    if costs.guarded is not None and costs.verdict is costs.guarded.verdict:
        return guard_text(costs.guarded, challenger)
    if costs.verdict is Verdict.NEITHER:
        return "neither of the two"
    if costs.verdict is Verdict.TIE:
        return f"a tie (within a factor of {TIE_FACTOR})"
    needed = f" ({costs.settling_n} replicates would probably settle it)" if costs.settling_n else ""
    return f"insufficient evidence for which is cheaper{needed}"


def whole_verdict_text(costs: Costs, challenger: str) -> str:
    """The verdict as text and, if controls make both contenders unnecessary, which ones and by how much."""
    said = verdict_text(costs, challenger)
    if not costs.instead:
        return said
    if isinstance(costs, CostComparison):
        return f"{said}: {' and '.join(instead_text(one, challenger) for one in costs.instead)}"
    named = " and ".join(map(label_text, costs.instead))
    return f"{said}: {named} {'is' if len(costs.instead) == 1 else 'are'} {task().as_good} and cheaper at every target"


def guard_text(guarded: Guarded, challenger: str) -> str:
    """Why costs are not compared."""
    who = "" if guarded.place is None else way_text(PRUNE if guarded.place == 0 else challenger)
    found, limit = guarded.found, guarded.limit
    if guarded.obstacle is Obstacle.NOT_REACHED:
        times = f"in {found:.0f} replicate{'' if found == 1 else 's'}"
        return f"not reached: {who} reached that {task().quality} {times}, and {limit:.0f} are needed"
    reason = {
        Obstacle.APART: f"median final {task().qualities} on validation differ by {100 * abs(found):.1f} points "
        f"({way_text(PRUNE if found > 0 else challenger)} has the higher), so {task().quality} is to be compared, not cost",
        Obstacle.CHANCE: f"{percent(found)} is near {task().guessing}",
        Obstacle.SPREAD: f"final {task().qualities} of {who} are {100 * found:.1f} points apart between replicates "
        f"(at most {100 * limit:.1f} are allowed)",
        Obstacle.BELOW_CONTROL: f"{percent(found)} is more than 3 points below the cheapest control",
        Obstacle.RATE: f"the verdict depends on what hours on the other GPU models count as: within the declared range the "
        f"cost ratio goes from {number(found)}× to {number(limit)}×",
    }[guarded.obstacle]
    return f"not comparable: {reason}"


def instead_text(instead: Instead, challenger: str) -> str:
    """A control that makes both contenders unnecessary, with its figures."""
    return (
        f"{label_text(instead.label)} is {task().as_good} and cheaper: pruning costs {_times(instead.base_ratio)} and "
        f"{label_text(challenger)} {_times(instead.challenger_ratio)} as much"
    )


def provisional_text(n: int, planned: int) -> str:
    """The note after a verdict from fewer replicates than planned; otherwise empty."""
    return f" (provisional: {n} of {planned} replicates)" if n < planned else ""


def reached_by_both(costs: CostComparison) -> bool:
    """Whether both contenders reached the common accuracy in as many replicates as a statement needs."""
    return all(
        count >= min(LEAST_REACHED, max(1, costs.num_entered[label])) for label, count in costs.num_reached.items()
    )


def cheapest_text(found: CheapestOfAll | None, num_contenders: int, *, is_reached_by_pair: bool = True) -> str | None:
    """The cheapest contender of all in words, besides what is said of the pair; None if there are only two contenders."""
    if found is None or num_contenders < 3:
        return None
    if found.num_others == 0:
        return f"only {way_text(found.label)} is shown to reach it"
    if found.num_others == 1 and is_reached_by_pair:
        return "no other contender is shown to reach it"
    if found.saving.n == 0:
        name, saving = way_text(found.label), ""
    else:
        name, saving = label_text(found.label), f" (pruning costs {_times(found.saving)} as much)"
    if found.is_shown:
        return f"cheapest of all {found.num_others + 1} that reach it: {name}{saving}"
    beaten = ", ".join(label_text(label) for label in found.not_beaten)
    unsure = f", not shown to be cheaper than {beaten}" if beaten else ""
    return f"lowest cost seen of {found.num_others + 1} that reach it: {name}{saving}{unsure}"


def cheapest_claim(found: Sequence[CheapestOfAll]) -> str:
    """What to call the contenders with the lowest costs: the cheapest only if that is shown at every target."""
    return "cheapest of all" if all(one.is_shown for one in found) else "lowest cost seen"


def interval_text(alpha: float) -> str:
    """``95 % interval``, or the corrected level."""
    level = f"{100 * (1 - alpha):.4g}"
    return f"{level} % interval" + ("" if alpha == ALPHA else ", corrected")


def ratio_text(ratio: Estimate, alpha: float) -> str:
    """A ratio with the interval from which its verdict was read, at its level, and n."""
    if ratio.low is None or ratio.high is None:
        return f"{number(ratio.value)} (n = {ratio.n}, no interval{ends_clause(ratio.ends)})"
    wide = f": {SAYS_NOTHING}" if ratio_says_nothing(ratio.low, ratio.high) else ""
    bounds = f"{interval_text(alpha)} {number(ratio.low)} to {number(ratio.high)}{wide}"
    return f"{number(ratio.value)} ({bounds}, n = {ratio.n}{ends_clause(ratio.ends)})"


def flips(costs: Mapping[str, Costs], headline: str) -> list[str]:
    """Policies under which the answer differs: the other side is shown, or the interval excludes the headline's ratio."""
    main = costs[headline]
    return [policy for policy, other in costs.items() if policy != headline and _differs(main, other)]


def _differs(main: Costs, other: Costs) -> bool:
    if main.verdict in SHOWN and other.verdict in SHOWN and main.verdict != other.verdict:
        return True
    value, ratio = main.cost_ratio.value, other.cost_ratio
    if value is None or ratio.low is None or ratio.high is None or ratio.value is None or other.guarded:
        return False
    is_outside = not ratio.low <= value <= ratio.high
    changes = not 1 / TIE_FACTOR <= ratio.value / value <= TIE_FACTOR
    return is_outside and changes


def _times(ratio: Estimate) -> str:
    ends = ends_clause(ratio.ends)
    if ratio.low is None or ratio.high is None:
        return f"{number(ratio.value)}×" + (f" ({ends.removeprefix('; ')})" if ends else "")
    wide = f": {SAYS_NOTHING}" if ratio_says_nothing(ratio.low, ratio.high) else ""
    return f"{number(ratio.value)}× ({number(ratio.low)} to {number(ratio.high)}{wide}{ends})"
