"""Successive halving of a search's candidates: the fields of ``halving``, and the epochs at which its rungs end."""

from __future__ import annotations

from pydantic import Field

from harness.config.section import Strict


class Halving(Strict):
    """Successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): only the best continue from rung to rung."""

    eta: int = Field(3, ge=2, le=100)
    """One in this many candidates of a rung continues, and is trained for this many times as many epochs."""
    rungs: int = Field(3, ge=2, le=10)
    """Number of rungs. The last one ends with the epochs of ``candidate``, each earlier one with ``eta`` times fewer."""

    @property
    def least_epochs(self) -> int:
        """The fewest epochs with which all rungs differ: the second then ends after 2."""
        return int(2 * self.eta ** (self.rungs - 2))

    def ends(self, epochs: int) -> tuple[int, ...]:
        """The whole epoch, at least 1, after which each rung ends; rungs that would end together are merged.

        >>> Halving(eta=3, rungs=3).ends(10)
        (1, 3, 10)
        """
        ends = (max(1, epochs // self.eta**down) for down in reversed(range(self.rungs)))
        return tuple(dict.fromkeys(ends))
