"""Epoch ends and heartbeats in columns: most lines of a ledger are of these kinds, and they are all alike.

A record takes a kilobyte of memory as a dict, and some 60 bytes as a row of columns. What no reader needs is dropped:
of an attempt's heartbeats, its own or its node's sampler's, only their number and the times of the first and last are
kept.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from accounting.ledger.arrays import Floats, Wholes
from accounting.ledger.records import Kind, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAN = float("nan")
MANY = 20_000
"""From this many epoch ends on, numpy is worth its import."""


class Point(NamedTuple):
    """The end of an epoch."""

    t: float
    epoch: int
    num_epochs: int
    val_top1: float | None
    train_loss: float | None
    checkpointed: bool


@dataclass
class Points:
    """Epoch ends as rows in the order in which they were added, and heartbeats by attempt."""

    codes: dict[str, int] = field(default_factory=dict)
    """The number that represents an attempt in :attr:`attempt`, by its name."""
    attempt: Wholes = field(default_factory=lambda: array("l"))
    t: Floats = field(default_factory=lambda: array("d"))
    epoch: list[int] = field(default_factory=list)
    num_epochs: list[int] = field(default_factory=list)
    val_top1: Floats = field(default_factory=lambda: array("d"))
    """NaN if it was not measured."""
    train_loss: Floats = field(default_factory=lambda: array("d"))
    checkpointed: Wholes = field(default_factory=lambda: array("b"))
    beats: dict[str, list[float]] = field(default_factory=dict)
    """By attempt: the number of heartbeats, and the times of the first and the last."""

    def __len__(self) -> int:
        """The number of epoch ends."""
        return len(self.t)

    def add(
        self,
        attempt: str,
        t: float,
        epoch: int,
        num_epochs: int,
        val_top1: float | None,
        train_loss: float | None,
        checkpointed: bool,
    ) -> None:
        """Add one epoch end."""
        self.attempt.append(self.codes.setdefault(attempt, len(self.codes)))
        self.t.append(t)
        self.epoch.append(epoch)
        self.num_epochs.append(num_epochs)
        self.val_top1.append(NAN if val_top1 is None else val_top1)
        self.train_loss.append(NAN if train_loss is None else train_loss)
        self.checkpointed.append(checkpointed)

    def add_many(
        self,
        attempts: Sequence[str],
        t: Sequence[float],
        epoch: Sequence[int],
        num_epochs: Sequence[int],
        val_top1: Sequence[float],
        train_loss: Sequence[float],
        checkpointed: Sequence[bool],
    ) -> None:
        """Add many epoch ends, as columns; NaN means not measured."""
        codes = self.codes
        for name in dict.fromkeys(attempts):
            codes.setdefault(name, len(codes))
        self.attempt.extend(map(codes.__getitem__, attempts))
        self.t.extend(t)
        self.epoch.extend(epoch)
        self.num_epochs.extend(num_epochs)
        self.val_top1.extend(val_top1)
        self.train_loss.extend(train_loss)
        self.checkpointed.extend(checkpointed)

    def add_arrays(
        self,
        names: Sequence[str],
        places: NDArray[np.int64],
        t: NDArray[np.float64],
        epoch: NDArray[np.float64],
        num_epochs: NDArray[np.float64],
        val_top1: NDArray[np.float64],
        train_loss: NDArray[np.float64],
        checkpointed: NDArray[np.float64],
    ) -> None:
        """Add many epoch ends, as arrays; ``places`` holds the index of each row's attempt in ``names``."""
        import numpy as np

        codes = np.array([self.codes.setdefault(name, len(self.codes)) for name in names])
        self.attempt.frombytes(codes[places].astype(self.attempt.typecode).tobytes())
        self.t.frombytes(t.tobytes())
        self.epoch.extend(epoch.tolist())
        self.num_epochs.extend(num_epochs.tolist())
        self.val_top1.frombytes(val_top1.tobytes())
        self.train_loss.frombytes(train_loss.tobytes())
        self.checkpointed.frombytes(checkpointed.astype(self.checkpointed.typecode).tobytes())

    def beat(self, attempt: str, t: float, first_t: float | None = None, count: float = 1) -> None:
        """Add one heartbeat at ``t``, or ``count`` of them from ``first_t`` to ``t``."""
        first_t = t if first_t is None else first_t
        known = self.beats.get(attempt)
        if known is None:
            self.beats[attempt] = [count, first_t, t]
            return
        known[0] += count
        if t > known[2]:
            known[2] = t
        if first_t < known[1]:
            known[1] = first_t

    def take(self, record: Record) -> bool:
        """Add a record if it is of one of the three kinds; returns whether it is."""
        kind = record["kind"]
        if kind == Kind.PROGRESS:
            self.add(
                record["attempt"], record["t"], record["epoch"], record["num_epochs"], record["val_top1"],
                record["train_loss"], record["checkpointed"],
            )  # fmt: skip
        elif kind == Kind.HEARTBEAT:
            self.beat(record["attempt"], record["t"])
        elif kind == Kind.NODE_BEAT:
            for name in record["attempts"]:
                self.beat(name, record["t"])
        else:
            return False
        return True

    def extend(self, other: Points) -> None:
        """Add everything from another."""
        if other.codes:
            codes = [self.codes.setdefault(name, len(self.codes)) for name in other.codes]
            self.attempt.extend(map(codes.__getitem__, other.attempt))
        self.t.extend(other.t)
        self.epoch.extend(other.epoch)
        self.num_epochs.extend(other.num_epochs)
        self.val_top1.extend(other.val_top1)
        self.train_loss.extend(other.train_loss)
        self.checkpointed.extend(other.checkpointed)
        for name, (count, first_t, last_t) in other.beats.items():
            self.beat(name, last_t, first_t, count)

    @property
    def names(self) -> list[str]:
        """The attempts with progress, in the order of their numbers."""
        return list(self.codes)

    def point(self, row: int) -> Point:
        """One row."""
        return Point(
            self.t[row], self.epoch[row], self.num_epochs[row], _known(self.val_top1[row]), _known(self.train_loss[row]),
            bool(self.checkpointed[row]),
        )  # fmt: skip

    def spans(self) -> Iterator[tuple[str, int, float, float]]:
        """Each attempt with progress: its name, its number of rows, and the times of the first and the last."""
        if len(self) >= MANY:
            yield from self._many_spans()
            return
        count, first, last = [0] * len(self.codes), [math.inf] * len(self.codes), [-math.inf] * len(self.codes)
        for code, t in zip(self.attempt, self.t, strict=True):
            count[code] += 1
            if t < first[code]:
                first[code] = t
            if t > last[code]:
                last[code] = t
        yield from zip(self.codes, count, first, last, strict=True)

    def _many_spans(self) -> Iterator[tuple[str, int, float, float]]:
        import numpy as np

        codes, t = np.array(self.attempt), np.array(self.t)
        order = np.argsort(codes, kind="stable")
        begins = np.flatnonzero(np.diff(codes[order], prepend=-1))
        here = codes[order[begins]]
        count = np.bincount(codes, minlength=len(self.codes))
        first, last = np.full(len(count), math.inf), np.full(len(count), -math.inf)
        first[here], last[here] = np.minimum.reduceat(t[order], begins), np.maximum.reduceat(t[order], begins)
        yield from zip(self.codes, count.tolist(), first.tolist(), last.tolist(), strict=True)


def split_off(records: Iterable[Record]) -> tuple[list[Record], Points]:
    """The records of other kinds, and the points of these kinds."""
    points = Points()
    return [record for record in records if not points.take(record)], points


def _known(value: float) -> float | None:
    return None if value != value else value
