"""A job's spec as a line has it: most of what is recorded of an attempt, and seldom asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple, cast

from accounting.ledger.records import Record
from accounting.ledger.specs import JobSpec

BULKY = frozenset(
    {"job", "route", "phase", "target", "replicate", "seed", "network", "network_macs", "computed_macs", "recipe"}
)
"""What of a spec is large, or on record beside it."""


class Lines:
    """The lines of a segment, which are never changed; the file is opened when one is first asked for, and kept open."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path) -> None:
        self.path, self._fd = path, -1

    def read(self, begin: int, length: int) -> bytes:
        """So many bytes from there on."""
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDONLY)
        return os.pread(self._fd, length, begin)

    def __reduce__(self) -> tuple[type[Lines], tuple[Path]]:
        """For another process, which opens the file itself."""
        return Lines, (self.path,)

    def __del__(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)


class Place(NamedTuple):
    """Where a line of a segment is."""

    lines: Lines
    begin: int
    length: int

    def read(self) -> bytes:
        """The line, without its end."""
        return self.lines.read(self.begin, self.length)


class PackedSpec:
    """A spec of which only the small parts are kept as values (``links``); the whole is parsed when it is asked for."""

    __slots__ = ("_line", "links")

    def __init__(self, links: JobSpec, line: bytes | Place) -> None:
        self.links = links
        self._line = line

    def __reduce__(self) -> tuple[type[PackedSpec], tuple[JobSpec, bytes | Place]]:
        """For another process."""
        return PackedSpec, (self.links, self._line)

    def unpacked(self) -> JobSpec:
        """The whole spec, rebuilt at each call."""
        record: Record = json.loads(self._line if isinstance(self._line, bytes) else self._line.read())
        return record["spec"]


def links_of(spec: object) -> JobSpec:
    """What a job began from and what was done to it: a spec without its network, its recipe and what is null."""
    if isinstance(spec, PackedSpec):
        return spec.links
    if not isinstance(spec, dict):
        return _NOTHING
    found = {key: value for key, value in spec.items() if key not in BULKY and value is not None and value is not False}
    if isinstance(teacher := found.get("teacher"), dict):
        found["teacher"] = {key: value for key, value in teacher.items() if key != "network"}
    return cast("JobSpec", found) if found else _NOTHING


_NOTHING = JobSpec()
