"""The ends of a study's epochs, as values to iterate over or as columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, overload

from accounting.ledger.points import Point, Points
from accounting.ledger.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Progress:
    """The end of one epoch of one attempt, with everything that a plot needs."""

    attempt: str
    job: str
    route: str
    phase: str
    target: int | None
    replicate: int
    t: float
    epoch: int
    num_epochs: int
    val_top1: float | None
    train_loss: float | None
    network_macs: int | None


class ProgressTable(Sequence[Progress]):
    """All ends of epochs, ordered by time, except those of attempts that never started.

    ``started`` has the first record of each attempt, in the order in which they began.
    """

    def __init__(self, points: Points, started: Mapping[str, Record]) -> None:
        self._points, self._started = points, started

    @cached_property
    def _names(self) -> list[str]:
        return self._points.names

    @cached_property
    def _rows(self) -> Sequence[int]:
        """Row numbers ordered by time, and for equal times by attempt."""
        import numpy as np

        place = {name: number for number, name in enumerate(self._started)}
        rank = np.array([place.get(name, -1) for name in self._names], dtype=np.int64)
        of_row = rank[np.array(self._points.attempt, dtype=np.int64)]
        rows = np.lexsort((of_row, np.array(self._points.t)))
        return array("l", rows[of_row[rows] >= 0].tolist())

    @cached_property
    def _of_attempt(self) -> dict[str, Sequence[int]]:
        """Row numbers of each attempt, ordered by time."""
        import numpy as np

        codes = np.array(self._points.attempt, dtype=np.int64)
        rows = array("l", np.lexsort((np.array(self._points.t), codes)).tolist())
        ends = np.cumsum(np.bincount(codes, minlength=len(self._names))).tolist()
        spans = zip(self._names, pairwise([0, *ends]), strict=True)
        return {name: rows[begin:end] for name, (begin, end) in spans if name in self._started}

    def of(self, attempt: str) -> Sequence[Point]:
        """The ends of one attempt's epochs, ordered by time."""
        return [self._points.point(row) for row in self._of_attempt.get(attempt, ())]

    def curve(self, attempt: str) -> Iterator[tuple[float, int, float]]:
        """Time, epoch and validation accuracy of an attempt's epochs that have an accuracy, ordered by time."""
        return zip(*self.columns_of(attempt), strict=True)

    def columns_of(self, attempt: str) -> tuple[list[float], list[int], list[float]]:
        """:meth:`curve` as columns."""
        points = self._points
        t, epoch, val_top1 = points.t, points.epoch, points.val_top1
        rows = [row for row in self._of_attempt.get(attempt, ()) if val_top1[row] == val_top1[row]]
        return [t[row] for row in rows], [epoch[row] for row in rows], [val_top1[row] for row in rows]

    def in_order(self) -> tuple[list[Record], NDArray[np.int64], dict[str, NDArray[np.float64]]]:
        """All rows, ordered by time: the first records of their attempts, the attempt of each row, and the columns.

        The second value has, for each row, an index into the first. NaN means not measured.
        """
        import numpy as np

        points, rows = self._points, np.array(self._rows, dtype=np.int64)
        codes = np.array(points.attempt, dtype=np.int64)[rows]
        used = np.unique(codes)
        place = np.full(len(self._names), -1)
        place[used] = np.arange(len(used))
        columns = ("t", "epoch", "num_epochs", "val_top1", "train_loss")
        found = {name: np.array(getattr(points, name))[rows] for name in columns}
        return [self._started[self._names[code]] for code in used], place[codes], found

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Progress: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Progress]: ...
    def __getitem__(self, place: int | slice) -> Progress | Sequence[Progress]:
        """The row at an index, ordered by time."""
        if isinstance(place, slice):
            return [self._value(row) for row in self._rows[place]]
        return self._value(self._rows[place])

    def __iter__(self) -> Iterator[Progress]:
        """Iterate in order of time."""
        return map(self._value, self._rows)

    def __eq__(self, other: object) -> bool:
        """Whether the other has the same values."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Progress.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Their number."""
        return f"<{len(self)} ends of epochs>"

    def _value(self, row: int) -> Progress:
        point, name = self._points.point(row), self._names[self._points.attempt[row]]
        started = self._started[name]
        return Progress(
            name, started["job"], started["route"], started["phase"], started["target"], started["replicate"], point.t,
            point.epoch, point.num_epochs, point.val_top1, point.train_loss, started["network_macs"],
        )  # fmt: skip


NO_PROGRESS = ProgressTable(Points(), {})
