"""What has been appended to a ledger since the last reading, for those who read it repeatedly while it is written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from accounting.ledger.chain import Checker
from accounting.ledger.index import NAME, begins_attempts, read_index
from accounting.ledger.integrity import Segment
from accounting.ledger.points import Points
from accounting.ledger.reading import Reading
from accounting.ledger.records import Record

ALL_S, ALL_PER_SEGMENT_S = 60.0, 0.05
"""How often every segment is checked; if there are many, so long for each of them."""
REST_S = 60.0
"""How long after a worker gave back its devices its segment is checked only together with all others."""


@dataclass
class _Followed:
    """How far a segment has been read."""

    segment: Segment
    checker: Checker = field(default_factory=Checker)
    position: int = 0
    number: int = 0
    """Number of lines read so far."""


class Tail:
    """Follows the segments of a ledger. Lines already read are not checked again, so damage to them is not noticed.

    A worker whose devices were given back writes nothing more, and there may be thousands of them, so their segments
    are checked once a minute at most. New segments are found through the index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._followed: dict[str, _Followed] = {}
        self._positions: dict[str, int] = {}
        """How far each has been read."""
        self._workers: set[str] = set()
        self._others: set[str] = set()
        """Names of the segments that are checked every time, of workers and of all others."""
        self._resting_s: dict[str, float] = {}
        """When a segment's worker gave back its devices, by the monotonic clock."""
        self._looked_s, self._index_size = float("-inf"), 0
        self._ledger: str | None = None
        """The ledger's id, from its index; None if not known yet."""

    def read(self) -> tuple[list[Record], Points] | None:
        """The new records, in no order of time, and the new epoch ends and heartbeats.

        None if the ledger cannot be followed: a segment is gone, cut, without a chain, a copy, or another study's.

        Raises:
            LedgerError: as :func:`accounting.ledger.store.read_ledger`.

        """
        sizes = self._sizes()
        if sizes is None:
            return None
        points, records = Points(), list[Record]()
        reading = Reading(strict=True, points=points)
        for name in sorted(name for name, size in sizes.items() if size != self._positions.get(name)):
            followed = self._followed.setdefault(name, _Followed(Segment(self._folder / name, 0, "")))
            if sizes[name] < followed.position or not self._go_on(followed, sizes[name], reading):
                return None
            self._positions[name] = followed.position
            records += followed.segment.records
            followed.segment.records = []
            self._activate((name,))
            self._resting_s.pop(name, None)
        return records, points

    def rest(self, segments: Iterable[str]) -> None:
        """Note that the workers of these segments have given back their devices."""
        now_s = time.monotonic()
        for name in segments:
            self._resting_s.setdefault(name, now_s)

    def _sizes(self) -> dict[str, int] | None:
        """The segments that may have grown, with their bytes; None if one is gone.

        A sampler names an attempt only once its start is on disk. Workers' segments are looked at after all others, each
        once, so that every attempt named in what is read here also has its start in what is read.
        """
        now_s = time.monotonic()
        wait_s = max(ALL_S, ALL_PER_SEGMENT_S * len(self._followed))
        is_due = not self._note_new() or now_s - self._looked_s >= wait_s
        others = self._all_sizes(now_s) if is_due else self._sizes_of(self._others)
        if not self._note_new():
            self._looked_s = float("-inf")
        workers = self._sizes_of(self._workers)
        return None if others is None or workers is None else others | workers

    def _all_sizes(self, now_s: float) -> dict[str, int] | None:
        self._looked_s = now_s
        sizes = _sizes_in(self._folder)
        if sizes.keys() < self._followed.keys():
            return None
        self._others.clear()
        self._workers.clear()
        self._activate(name for name in sizes if now_s - self._resting_s.get(name, now_s) < REST_S)
        return sizes

    def _sizes_of(self, names: Iterable[str]) -> dict[str, int] | None:
        try:
            return {name: os.stat(f"{self._folder}{os.sep}{name}").st_size for name in names}  # noqa: PTH116
        except FileNotFoundError:
            return None

    def _activate(self, names: Iterable[str]) -> None:
        """Have these segments checked every time."""
        for name in names:
            (self._workers if begins_attempts(name) else self._others).add(name)

    def _note_new(self) -> bool:
        """Have new segments checked; returns False if the whole folder must be searched for them."""
        new = self._new_in_index()
        self._activate(new or ())
        return new is not None

    def _new_in_index(self) -> set[str] | None:
        """Segments registered since the last call; None if the whole folder must be searched."""
        try:
            with (self._folder / NAME).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._index_size or self._index_size == 0:
                    self._index_size = size
                    return None
                file.seek(self._index_size)
                content = file.read()
        except FileNotFoundError:
            return None
        whole = content[: content.rfind(b"\n") + 1]
        found: set[str] = set()
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
                if entry["kind"] == "segment":
                    found.add(str(entry["segment"]))
            except (ValueError, KeyError, TypeError):
                return None
        self._index_size += len(whole)
        return {name for name in found if (self._folder / name).exists()}

    def _go_on(self, followed: _Followed, size: int, reading: Reading) -> bool:
        """Read on up to that size, and no further: what was written since may name attempts that are not read yet."""
        segment = followed.segment
        with segment.path.open("rb") as file:
            file.seek(followed.position)
            content = file.read(size - followed.position)
        content = content[: content.rfind(b"\n") + 1]
        number = reading.read_on(segment, content, followed.checker, followed.number)
        if segment.warning is not None:  # its last line cannot be read; it may still be being written
            return False
        if followed.number == 0 and number and not self._is_ours(segment):
            return False
        followed.position, followed.number = followed.position + len(content), number
        return True

    def _is_ours(self, segment: Segment) -> bool:
        if self._ledger is None and (index := read_index(self._folder)) is not None:
            self._ledger = index.ledger
        if self._ledger is None or not segment.is_chained:
            return False
        return segment.own_name == segment.name and segment.opening.get("ledger") in (None, "", self._ledger)


def _sizes_in(folder: Path) -> dict[str, int]:
    """The segments by name, with their bytes; this avoids making a path for each of possibly thousands."""
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: entry.stat().st_size
                for entry in entries
                if entry.name.endswith(".jsonl") and not entry.name.startswith(".") and entry.is_file()
            }
    except FileNotFoundError:
        return {}
