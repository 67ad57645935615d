"""How a study grew beyond its first plan, and what of its verdict was chosen after results had been seen, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.words.json_values import changed_text
from accounting.words.names import label_text
from reports.data.extensions import Extension, Growth, choices_after_results


def changes_sentences(growth: Growth | None, extensions: Sequence[Extension]) -> list[str]:
    """How the study grew, and which choices of its verdict were changed after results had been seen."""
    chosen = choices_after_results(extensions)
    grown = [] if growth is None else [growth_sentence(growth)]
    return [*grown, *([choices_sentence(chosen)] if chosen else [])]


def choices_sentence(chosen: Sequence[Extension]) -> str:
    """What the verdict is about or charges was changed after results had been seen: from what to what."""
    changes = "; ".join(changed_text({"key": one.key, "old": one.old, "new": one.new}) for one in chosen)
    seen = _count(max(one.networks_before for one in chosen), "network")
    return f"Changed after results were seen ({seen} delivered), without effect on any job: {changes}."


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
