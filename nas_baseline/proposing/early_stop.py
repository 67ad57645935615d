"""The epoch at which the ranking of half-trained candidates already agrees with that of fully trained ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def choose_early_stop(val_curves: ArrayLike, final: ArrayLike, min_tau: float = 0.9) -> int:
    """The first epoch (from 1) from which on the rank correlation with ``final`` stays at least ``min_tau``.

    ``val_curves``: validation accuracy, shape [candidates, epochs]; ``final``: accuracy to rank by, shape [candidates].
    Correlation is Kendall's tau-b; candidates with a missing value are left out. If no epoch qualifies, the last one
    (FBNetV3, arXiv 2006.02049, section 3.2).

    Raises:
        ValueError: the shapes do not match, or there are fewer than three candidates.

    """
    curves, goal = np.asarray(val_curves, dtype=np.float64), np.asarray(final, dtype=np.float64)
    if curves.ndim != 2 or goal.shape != curves.shape[:1] or curves.shape[1] == 0:
        raise ValueError(
            f"need curves [candidates, epochs] and final [candidates], not {curves.shape} and {goal.shape}"
        )
    if not -1 <= min_tau <= 1:
        raise ValueError(f"min_tau must be from -1 to 1, not {min_tau}")
    whole = np.isfinite(curves).all(1) & np.isfinite(goal)
    if whole.sum() < 3:
        raise ValueError(f"a rank correlation needs at least 3 complete candidates, not {int(whole.sum())}")
    from scipy.stats import kendalltau  # imported here, since reading a config must not import scipy

    epoch = curves.shape[1]
    for column in reversed(curves[whole].T):
        # A constant column has no ranking: tau is NaN and does not qualify.
        if not kendalltau(column, goal[whole]).statistic >= min_tau:
            break
        epoch -= 1
    return int(min(epoch + 1, curves.shape[1]))
