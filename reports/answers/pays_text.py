"""Who pays, in words: the parts of costs, break-evens, and the declared cost of the parent."""

from __future__ import annotations

from accounting.study.facts import DeclaredParent
from accounting.words.names import PRUNE, label_text, unit_text
from accounting.words.quantities import macs_text
from reports.compare.charges import BreakEven
from reports.compare.values import PaysAgainst, PooledPays
from reports.statistics import Estimate
from reports.words.wording import AT_ENDS, number


def break_even_sentences(found: PaysAgainst | PooledPays, unit: str, parent_h: Estimate | None, at: str) -> list[str]:
    """Sentences on the parent's price and the number of targets at which a challenger and pruning cost the same, if known.

    Each begins with ``at``, which names the target.
    """
    name = label_text(found.challenger)
    price = _price_text(found.price, name, unit, parent_h)
    targets = _targets_text(found.targets, name)
    return [f"{at}, {text}." for text in (price, targets) if text is not None]


def at_target(target: int) -> str:
    """The beginning of a sentence about one target."""
    return f"At {macs_text(target)} MACs"


def pooled_at(found: PooledPays, dataset: str) -> str:
    """The beginning of a sentence about all targets."""
    over = "1 target" if found.num_targets == 1 else f"{found.num_targets} targets pooled"
    return f"On {dataset}, {over}"


def declared_sentence(declared: DeclaredParent) -> str:
    """The sentence that says what a parent is declared to have cost, and by whom."""
    return (
        f"The parent's cost is declared, not measured: {declared.text} ({declared.source}); it takes the place of its "
        "pretraining where costs are compared, and is in no total of the ledger."
    )


def _price_text(found: BreakEven, name: str, unit: str, parent_h: Estimate | None) -> str | None:
    hours = unit_text(unit)
    if found.n == 0:
        return None
    if found.value is None:
        return (
            f"{_who(found.below)} is cheaper than {_other(found.below, name)} at any price of the parent"
            f"{_never(found, hours)}{_ends(found, hours)}"
        )
    taken = None if parent_h is None else parent_h.value
    times = f", {number(found.value / taken)}× what it is charged with" if taken else ""
    return (
        f"{name} and prune cost the same if the parent costs {number(found.value)} {hours}{times}; "
        f"{_sides(found, 'below that', 'above', 'below', 'above', hours)}{_ends(found, hours)}"
    )


def _targets_text(found: BreakEven, name: str) -> str | None:
    if found.n == 0:
        return None
    if found.value is None:
        return (
            f"{_who(found.below)} is cheaper than {_other(found.below, name)} however many targets share what is common"
            f"{_never(found, 'targets')}{_ends(found, 'targets')}"
        )
    sides = _sides(found, "with fewer", "with more", "with fewer than", "with more than", "targets")
    return (
        f"{name} and prune cost the same if {number(found.value)} such targets share what is common; {sides}"
        f"{_ends(found, 'targets')}"
    )


def _sides(found: BreakEven, below: str, above: str, shown_below: str, shown_above: str, unit: str) -> str:
    low = "not shown" if found.low is None else f"shown {shown_below} {number(found.low)} {unit}"
    high = "not shown" if found.high is None else f"shown {shown_above} {number(found.high)} {unit}"
    return f"{below} {_who(found.below)} is cheaper ({low}), {above} {_who(found.above)} ({high}), n = {found.n}"


def _never(found: BreakEven, unit: str) -> str:
    """The words for a contender that is cheaper at every value, by how certain that is."""
    if found.is_shown_everywhere:
        return f" (shown, n = {found.n})"
    known = [
        *(f"below {number(found.low)} {unit}" for _ in (0,) if found.low is not None),
        *(f"above {number(found.high)} {unit}" for _ in (0,) if found.high is not None),
    ]
    return f" ({'shown ' + ' and '.join(known) if known else 'not shown'}, n = {found.n})"


def _ends(found: BreakEven, unit: str) -> str:
    """Where they cost the same at the ends of declared rates of GPU models; empty if that does not depend on the rates."""
    ends = found.ends
    if ends is None:
        return ""
    at = number(ends.low) if number(ends.low) == number(ends.high) else f"{number(ends.low)} to {number(ends.high)}"
    never = "".join(f", or nowhere, with {_who(label)} cheaper at any value" for label in ends.never)
    return f"; {AT_ENDS} they cost the same at {at} {unit}{never}"


def _who(label: str | None) -> str:
    return label_text(PRUNE if label is None else label)


def _other(label: str | None, name: str) -> str:
    return name if _who(label) != name else label_text(PRUNE)
