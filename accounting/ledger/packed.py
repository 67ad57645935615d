"""A job's spec kept as its line of text: specs are most of what is recorded about attempts, and are seldom needed."""

# No `from __future__ import annotations`: it would leave the fields of named tuples as texts that nothing resolves.

import json
import os
from pathlib import Path
from typing import NamedTuple, cast

from accounting.ledger.records import Record
from accounting.ledger.specs import JobSpec

BULKY = frozenset(
    {"job", "route", "phase", "target", "replicate", "seed", "network", "network_macs", "computed_macs", "recipe"}
)
"""Fields of a spec that are large, or are recorded elsewhere in the same record."""


class Lines:
    """The lines of a segment, which never change; the file is opened at the first read and stays open."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path) -> None:
        self.path, self._fd = path, -1

    def read(self, begin: int, length: int) -> bytes:
        """``length`` bytes from offset ``begin``."""
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDONLY)
        return os.pread(self._fd, length, begin)

    def __reduce__(self) -> "tuple[type[Lines], tuple[Path]]":
        """Pickle for another process, which opens the file itself."""
        return Lines, (self.path,)

    def __del__(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)


class Place(NamedTuple):
    """The place of a line in a segment: offset and length in bytes."""

    lines: Lines
    begin: int
    length: int

    def read(self) -> bytes:
        """The line, without its newline."""
        return self.lines.read(self.begin, self.length)


class PackedSpec:
    """A spec of which only the small fields are kept as values (``links``); the whole is parsed when needed."""

    __slots__ = ("_line", "links")

    def __init__(self, links: JobSpec, line: bytes | Place) -> None:
        self.links = links
        self._line = line

    def __reduce__(self) -> "tuple[type[PackedSpec], tuple[JobSpec, bytes | Place]]":
        """Pickle for another process."""
        return PackedSpec, (self.links, self._line)

    def unpacked(self) -> JobSpec:
        """The whole spec, parsed at each call."""
        record: Record = json.loads(self.line)
        return record["spec"]

    @property
    def line(self) -> str:
        """The line of its record in the ledger: printable ASCII without escapes."""
        line = self._line if isinstance(self._line, bytes) else self._line.read()
        return line.decode()


def links_of(spec: object) -> JobSpec:
    """What a job started from and what was done to it: a spec without its network, its recipe and null fields."""
    if isinstance(spec, PackedSpec):
        return spec.links
    if not isinstance(spec, dict):
        return _NOTHING
    found = {key: value for key, value in spec.items() if key not in BULKY and value is not None and value is not False}
    if isinstance(teacher := found.get("teacher"), dict):
        found["teacher"] = {key: value for key, value in teacher.items() if key != "network"}
    return cast("JobSpec", found) if found else _NOTHING


_NOTHING = JobSpec()
