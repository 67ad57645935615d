"""The ends of epochs of a study: values to whoever reads one after another, columns to whoever needs many."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import overload

from accounting.ledger.points import Point, Points
from accounting.ledger.records import Record


@dataclass(frozen=True)
class Progress:
    """The end of one epoch of one attempt, with what is needed to draw it."""

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
    """Every end of an epoch, in the order of time; of attempts that never started there is none.

    ``started`` has the first record of each attempt, in the order in which they began.
    """

    def __init__(self, points: Points, started: Mapping[str, Record]) -> None:
        self._points, self._started = points, started

    @cached_property
    def _names(self) -> list[str]:
        return self._points.names

    @cached_property
    def _rows(self) -> array[int]:
        """Rows of the points in the order of time; of equal ones by attempt."""
        place = {name: number for number, name in enumerate(self._started)}
        rank = [place.get(name, -1) for name in self._names]
        attempt, t = self._points.attempt, self._points.t
        rows = [row for row in range(len(t)) if rank[attempt[row]] >= 0]
        rows.sort(key=lambda row: (t[row], rank[attempt[row]]))
        return array("l", rows)

    @cached_property
    def _of_attempt(self) -> dict[str, array[int]]:
        """Rows of each attempt, in the order of time."""
        points = self._points
        found = [array("l") for _ in self._names]
        for row, code in enumerate(points.attempt):
            found[code].append(row)
        t = points.t
        for rows in found:
            if any(t[before] > t[after] for before, after in pairwise(rows)):
                rows[:] = array("l", sorted(rows, key=t.__getitem__))
        return {name: rows for name, rows in zip(self._names, found, strict=True) if name in self._started}

    def of(self, attempt: str) -> Sequence[Point]:
        """The ends of epochs of one attempt, in the order of time."""
        return [self._points.point(row) for row in self._of_attempt.get(attempt, ())]

    def curve(self, attempt: str) -> Iterator[tuple[float, int, float]]:
        """Time, epoch and validation accuracy of those ends of epochs of an attempt that have one, in the order of time."""
        points = self._points
        t, epoch, val_top1 = points.t, points.epoch, points.val_top1
        for row in self._of_attempt.get(attempt, ()):
            top1 = val_top1[row]
            if top1 == top1:  # not NaN
                yield t[row], epoch[row], top1

    def columns(self) -> dict[str, list[object]]:
        """All of it by the fields of :class:`Progress`, in the order of time."""
        points, names, rows = self._points, self._names, self._rows
        found: dict[str, list[object]] = {"attempt": [names[points.attempt[row]] for row in rows]}
        records = [self._started[names[points.attempt[row]]] for row in rows]
        found["job"] = [record["job"] for record in records]
        found["route"] = [record["route"] for record in records]
        found["phase"] = [record["phase"] for record in records]
        found["target"] = [record["target"] for record in records]
        found["replicate"] = [record["replicate"] for record in records]
        found["t"] = [points.t[row] for row in rows]
        found["epoch"] = [points.epoch[row] for row in rows]
        found["num_epochs"] = [points.num_epochs[row] for row in rows]
        found["val_top1"] = _known(points.val_top1, rows)
        found["train_loss"] = _known(points.train_loss, rows)
        found["network_macs"] = [record["network_macs"] for record in records]
        return found

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Progress: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Progress]: ...
    def __getitem__(self, place: int | slice) -> Progress | Sequence[Progress]:
        """The record at a place in order of time."""
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


def _known(column: Sequence[float], rows: Iterable[int]) -> list[object]:
    """The values of rows, None for what was not measured."""
    values = [column[row] for row in rows]
    return [None if value != value else value for value in values]


NO_PROGRESS = ProgressTable(Points(), {})
