"""What has been appended to a ledger since it was read last: for who reads it again and again while it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from accounting.ledger.chain import Checker
from accounting.ledger.index import read_index, segments_in
from accounting.ledger.integrity import Segment
from accounting.ledger.points import Points
from accounting.ledger.reading import Reading
from accounting.ledger.records import Record


@dataclass
class _Followed:
    """How far a segment was read."""

    segment: Segment
    checker: Checker = field(default_factory=Checker)
    position: int = 0
    number: int = 0
    """Number of lines read before."""


class Tail:
    """Follows the segments of a ledger. Lines that were read are not looked at again: damage to them is not noticed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._followed: dict[str, _Followed] = {}

    def read(self) -> tuple[list[Record], Points] | None:
        """The new records, in no order of time, and the new ends of epochs and heartbeats.

        None where the ledger cannot be followed (a segment that is gone, cut, without a chain, a copy or another study's).

        Raises:
            LedgerError: as :func:`accounting.ledger.store.read_ledger`.

        """
        paths = segments_in(self._folder)
        if {path.name for path in paths} < self._followed.keys():
            return None
        points, records = Points(), list[Record]()
        reading = Reading(strict=True, points=points)
        for path in paths:
            followed = self._followed.setdefault(path.name, _Followed(Segment(path, 0, "")))
            size = path.stat().st_size
            if size < followed.position:
                return None
            if size > followed.position and not self._go_on(followed, reading):
                return None
            records += followed.segment.records
            followed.segment.records = []
        return records, points

    def _go_on(self, followed: _Followed, reading: Reading) -> bool:
        segment = followed.segment
        with segment.path.open("rb") as file:
            file.seek(followed.position)
            content = file.read()
        content = content[: content.rfind(b"\n") + 1]
        number = reading.read_on(segment, content, followed.checker, followed.number)
        if segment.warning is not None:  # its last line cannot be read: it may be that it is still being written
            return False
        if followed.number == 0 and number and not self._is_ours(segment):
            return False
        followed.position, followed.number = followed.position + len(content), number
        return True

    def _is_ours(self, segment: Segment) -> bool:
        index = read_index(self._folder)
        if index is None or not segment.is_chained:
            return False
        return segment.own_name == segment.name and segment.opening.get("ledger") in (None, "", index.ledger)
