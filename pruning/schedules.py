"""When to prune how far: pure functions from the progress of fine-tuning (0-1) to the MACs target at that point.

Every schedule ends at exactly the target, at progress 1 or before, and never increases.
"""

from __future__ import annotations

import math

from accounting.words.quantities import macs_text


def one_shot(progress: float, start_macs: int, target_macs: int) -> int:
    """The final target from the start: everything is pruned before the first step."""
    _check(progress, start_macs, target_macs)
    return target_macs


def iterative(progress: float, start_macs: int, target_macs: int, *, num_rounds: int = 3) -> int:
    """MACs target in rounds of pruning and fine-tuning, as in Han et al. 2015 (arXiv 1506.02626).

    Each round keeps the same share of what the previous one left, as in Renda et al. 2020 (arXiv 2003.02389). The
    target is that of the round in which ``progress`` falls; the masks of a round are made at its beginning.

    Raises:
        ValueError: fewer than one round, or an argument out of range.

    """
    _check(progress, start_macs, target_macs)
    targets = iterative_targets(start_macs, target_macs, num_rounds)
    return targets[min(num_rounds - 1, math.floor(progress * num_rounds))]


def iterative_targets(start_macs: int, target_macs: int, num_rounds: int) -> tuple[int, ...]:
    """The MACs target of each round; the last one is the final target."""
    _check(0.0, start_macs, target_macs)
    if num_rounds < 1:
        raise ValueError(f"num_rounds is {num_rounds}; allowed: 1 or more")
    share = target_macs / start_macs
    targets = [round(start_macs * share ** (done / num_rounds)) for done in range(1, num_rounds)]
    return (*targets, target_macs)


def gradual(progress: float, start_macs: int, target_macs: int, *, begin: float = 0.0, end: float = 0.75) -> int:
    """Cubic schedule during fine-tuning: fast at first, while there is much to prune (Zhu & Gupta 2017, eq. 1).

    This is the formula of arXiv 1710.01878 for MACs instead of weights: ``target + (start - target) * (1 - t)**3``,
    where t runs from 0 at ``begin`` to 1 at ``end`` of the progress; the rest of the training stays at the target.

    Raises:
        ValueError: not ``0 <= begin < end <= 1``, or an argument out of range.

    """
    _check(progress, start_macs, target_macs)
    if not 0.0 <= begin < end <= 1.0:
        raise ValueError(f"begin is {begin}, end is {end}; allowed: 0 <= begin < end <= 1")
    elapsed = min(1.0, max(0.0, (progress - begin) / (end - begin)))
    return target_macs + math.floor((start_macs - target_macs) * (1.0 - elapsed) ** 3)


def _check(progress: float, start_macs: int, target_macs: int) -> None:
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress is {progress}; allowed: 0 to 1")
    if not 0 < target_macs <= start_macs:
        raise ValueError(f"target_macs is {macs_text(target_macs)}; allowed: 1 to the start's {macs_text(start_macs)}")
