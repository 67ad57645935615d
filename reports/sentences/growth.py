"""How a study grew beyond its first plan, in a sentence."""

from __future__ import annotations

from accounting.words.names import label_text
from reports.data.extensions import Growth


def growth_sentence(growth: Growth) -> str:
    """What grew, and whether results had been seen by then."""
    before, after = [], []
    for then, now, word in (
        (growth.planned.replicates, growth.now.replicates, "replicate"),
        (growth.planned.targets, growth.now.targets, "target"),
    ):
        if then != now:
            before.append(_count(then, word))
            after.append(_count(now, word))
    added = [
        *(f"route {label_text(route)}" for route in growth.routes),
        *(f"criterion {name}" for name in growth.criteria),
    ]
    seen = growth.networks_before
    when = f"after results were seen ({_count(seen, 'network')} delivered)" if seen else "before any result"
    if not after:
        return f"Added to the plan {when}: {', '.join(added)}."
    with_added = f"; added: {', '.join(added)}" if added else ""
    caveat = "; intervals of costs are corrected for looking in between" if growth.num_looks else ""
    return f"Planned with {' and '.join(before)}; extended to {' and '.join(after)} {when}{with_added}{caveat}."


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
