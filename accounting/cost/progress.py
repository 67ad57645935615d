"""The ends of a study's epochs, as values to iterate over or as columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
        found = array("l")
        found.frombytes(rows[of_row[rows] >= 0].astype(found.typecode).tobytes())
        return found

    @cached_property
    def _by_attempt(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows by the number of their attempt, then by time; and where each number's rows begin and the last end."""
        import numpy as np

        codes = np.array(self._points.attempt, dtype=np.int64)
        begins = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(self._names)))])
        return np.lexsort((np.array(self._points.t), codes)), begins

    def _rows_of(self, attempt: str) -> list[int]:
        """Rows of one attempt, in the order of time."""
        code = self._points.codes.get(attempt)
        if code is None or attempt not in self._started:
            return []
        rows, begins = self._by_attempt
        found: list[int] = rows[begins[code] : begins[code + 1]].tolist()
        return found

    def of(self, attempt: str) -> Sequence[Point]:
        """The ends of epochs of one attempt, in the order of time."""
        return [self._points.point(row) for row in self._rows_of(attempt)]

    def best_top1(self, attempt: str) -> float | None:
        """The best validation accuracy of an attempt; None if none was measured."""
        found = [self._points.val_top1[row] for row in self._rows_of(attempt)]
        return max((top1 for top1 in found if top1 == top1), default=None)

    @cached_property
    def _curves(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Time, epoch and validation accuracy of all rows."""
        import numpy as np

        points = self._points
        return np.array(points.t), np.array(points.epoch), np.array(points.val_top1)

    def curves(
        self, attempts: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """All validation accuracies measured in these attempts: one attempt after another, each in the order of time.

        The columns are the index of the attempt in ``attempts``, the time, the epoch and the accuracy.
        """
        import numpy as np

        rows, begins = self._by_attempt
        codes = [self._points.codes.get(name, -1) if name in self._started else -1 for name in attempts]
        known = np.flatnonzero(np.array(codes, dtype=np.int64) >= 0)
        own = np.array(codes, dtype=np.int64)[known]
        counts = begins[own + 1] - begins[own]
        which = np.repeat(known, counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = rows[np.repeat(begins[own], counts) + within]
        t, epoch, val_top1 = (column[taken] for column in self._curves)
        kept = ~np.isnan(val_top1)
        return which[kept], t[kept], epoch[kept], val_top1[kept]

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
        """The number of rows."""
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
        """The number of rows, for display."""
        return f"<{len(self)} ends of epochs>"

    def _value(self, row: int) -> Progress:
        point, name = self._points.point(row), self._names[self._points.attempt[row]]
        started = self._started[name]
        return Progress(
            name, started["job"], started["route"], started["phase"], started["target"], started["replicate"], point.t,
            point.epoch, point.num_epochs, point.val_top1, point.train_loss, started["network_macs"],
        )  # fmt: skip


NO_PROGRESS = ProgressTable(Points(), {})
