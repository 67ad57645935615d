"""Where a cost ratio crosses 1 between targets: which size costs the same by both ways. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def crossovers(points: Sequence[tuple[int, float]]) -> list[float]:
    """MACs at which the ratio is 1, on straight lines between (target, ratio), both as logarithms; ascending targets."""
    found = []
    for (low, before), (high, after) in itertools.pairwise(points):
        if before > 0 and after > 0 and (math.log(before) < 0) != (math.log(after) < 0):
            share = math.log(before) / (math.log(before) - math.log(after))
            found.append(math.exp((1 - share) * math.log(low) + share * math.log(high)))
    return found
