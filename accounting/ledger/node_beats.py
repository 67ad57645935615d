"""How a ``node_beat`` line is written: its pattern, shared by the readers that parse many lines at a time.

The pattern matches what the sampler writes for plain names, and nothing that JSON would read differently: no number
beyond 18 digits, no name with an escape, no empty name. It uses only syntax that Python's ``re`` and Arrow's RE2 share.
"""

from __future__ import annotations

from collections.abc import Sequence

from accounting.ledger.points import Points
from accounting.ledger.records import READINGS

NAME = r"[ !#-\[\]-~]+"
"""Printable ASCII without quotes or backslashes."""
_NUMBER = r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,25})?(?:e-[0-9]{1,3})?"
_VALUE = rf"(?:{_NUMBER}|null)"
_VALUES = rf'"{NAME}":\[{",".join([_VALUE] * len(READINGS))}\]'
HEAD = '{"kind":"node_beat",'
_BODY = rf'"node":"{NAME}","session":"{NAME}","attempts":\[%s\],"readings":{{(?:{_VALUES}(?:,{_VALUES})*)?}}'
_LISTED = rf'(?:"{NAME}"(?:,"{NAME}")*)?'
_END = r',"seq":[0-9]+,"chain":"[0-9a-f]{16}"}'

FINDS = rf'^\{HEAD}"t":({_NUMBER}),' + _BODY % rf"({_LISTED})" + rf'(?:,"written_t":({_NUMBER}))?{_END}$'
"""Finds the time, the list of attempts, and when the line was written if that differs from the time."""
MATCHES = rf'^\{HEAD}"t":{_NUMBER},' + _BODY % _LISTED + rf'(?:,"written_t":{_NUMBER})?{_END}$'
"""The same without groups."""


Parts = tuple[bytes, bytes, bytes]
"""The time, the list of attempts, and when the line was written if that differs from the time."""
_T = len(HEAD) + len('"t":')


def parts_of(line: bytes) -> Parts:
    """The parts of a line that matches; this relies on names having no quotes."""
    begin = line.index(b'","attempts":[', _T) + len(b'","attempts":[')
    end = line.index(b'],"readings":', begin)
    written = line.find(b',"written_t":', end)
    told = line[written + len(b',"written_t":') : line.index(b',"seq":', written)] if written >= 0 else b""
    return line[_T : line.index(b",", _T)], line[begin:end], told


def take(beats: Sequence[Parts], points: Points) -> list[float]:
    """Record which attempts were alive when; returns when each line was written."""
    times: dict[bytes, list[float]] = {}
    written = []
    for text, listed, told in beats:
        t = float(text)
        written.append(float(told) if told else t)
        times.setdefault(listed, []).append(t)
    for listed, own in times.items():
        first_t, last_t = min(own), max(own)
        for name in listed[1:-1].split(b'","') if listed else ():
            points.beat(name.decode(), last_t, first_t, len(own))
    return written
