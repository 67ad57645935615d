"""A job's spec as a line has it: most of what is recorded of an attempt, and seldom asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, cast

from accounting.ledger.records import Record
from accounting.ledger.specs import JobSpec

BULKY = frozenset(
    {"job", "route", "phase", "target", "replicate", "seed", "network", "network_macs", "computed_macs", "recipe"}
)
"""What of a spec is large, or on record beside it."""


class Place(NamedTuple):
    """Where a line of a closed segment is."""

    path: Path
    begin: int
    length: int

    def read(self) -> bytes:
        """The line, without its end."""
        with self.path.open("rb") as file:
            file.seek(self.begin)
            return file.read(self.length)


class PackedSpec:
    """A spec of which only the small parts are kept as values (``links``); the whole is parsed when it is asked for."""

    __slots__ = ("_line", "links")

    def __init__(self, links: JobSpec, line: bytes | Place) -> None:
        self.links = links
        self._line = line

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
