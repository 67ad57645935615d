"""Where a cost ratio crosses 1 between targets: the size at which both contenders cost the same. Pure functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def crossovers(points: Sequence[tuple[int, float]]) -> list[float]:
    """MACs at which the ratio is 1, by log-log interpolation between (target, ratio) points with ascending targets."""
    found = []
    for (low, before), (high, after) in itertools.pairwise(points):
        if before > 0 and after > 0 and (math.log(before) < 0) != (math.log(after) < 0):
            share = math.log(before) / (math.log(before) - math.log(after))
            found.append(math.exp((1 - share) * math.log(low) + share * math.log(high)))
    return found
