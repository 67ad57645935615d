"""Parse many lines at a time, of a segment whose lines are known to be written by this program.

Epoch ends and heartbeats, which are most lines, are matched by patterns and read as columns; all others are parsed as
JSON. A pattern matches what :class:`accounting.ledger.store.LedgerWriter` writes for plain names, and nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import isinf

from accounting.ledger import arrow_lines, node_beats
from accounting.ledger.points import Points
from accounting.ledger.records import LATEST_T

BLOCK_BYTES = 1 << 20
"""How many bytes of a file are split into lines at a time."""
_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_NAME = rb"([ !#-\[\]-~]+)"
_WRITTEN = rb'(?:,"written_t":(' + _NUMBER + rb"))?"
_END = rb',"seq":[0-9]+,"chain":"[0-9a-f]{16}"}$'
_BEATS = re.compile(
    rb'^{"kind":"heartbeat","t":(' + _NUMBER + rb'),"attempt":"' + _NAME + rb'"' + _WRITTEN + _END, re.MULTILINE
).findall
_PROGRESS = re.compile(
    rb'^{"kind":"progress","t":(' + _NUMBER + rb'),"attempt":"' + _NAME + rb'","epoch":([0-9]+),"num_epochs":([0-9]+),'
    rb'"train_loss":(' + _NUMBER + rb'|null),"val_top1":(' + _NUMBER + rb'|null),"checkpointed":(true|false)'
    + _WRITTEN + _END,
    re.MULTILINE,
).findall  # fmt: skip
_NODE_BEATS = re.compile(node_beats.FINDS.encode(), re.MULTILINE).findall

Tick = Callable[[Sequence[int], Sequence[float]], None]
"""Receives line numbers and the time when each line was written."""


def blocks_of(content: bytes) -> Iterator[list[bytes]]:
    """The whole lines of a file, without their newlines, one block at a time."""
    begin, last = 0, content.rfind(b"\n")
    while begin <= last:
        end = content.find(b"\n", begin + BLOCK_BYTES)
        end = last if end < 0 else end
        yield content[begin:end].split(b"\n")
        begin = end + 1


def take_points(
    lines: Sequence[bytes], first: int, points: Points, tick: Tick, *, is_long: bool = True
) -> tuple[list[int], list[bytes]]:
    """Read the epoch ends and heartbeats among lines, and return the numbers and texts of the others.

    ``first`` is the number of the first line. If one line of a kind does not match its pattern, all lines of that kind
    are among the others. Arrow is imported only if ``is_long``: the lines are of a segment that is worth the import.
    """
    by_arrow = is_long or "pyarrow" in sys.modules
    beats, nodes, progress, others = [], [], [], []
    for number, line in enumerate(lines, start=first):
        head = line[9:14]
        if head == b"progr":
            progress.append(number)
        elif head == b"heart":
            beats.append(number)
        elif head == b"node_":
            nodes.append(number)
        else:
            others.append(number)
    for numbers, take, take_many, least in (
        (beats, _take_beats, arrow_lines.take_beats, arrow_lines.MIN_LINES),
        (nodes, _take_node_beats, arrow_lines.take_node_beats, arrow_lines.MIN_NODE_BEATS),
        (progress, _take_progress, arrow_lines.take_progress, arrow_lines.MIN_LINES),
    ):  # fmt: skip
        own = [lines[number - first] for number in numbers]
        written = take_many(own, points) if by_arrow and len(own) >= least else None
        if written is not None:
            tick(numbers, written)
        elif own and not take(own, numbers, points, tick):
            others = sorted([*others, *numbers])
    return others, [lines[number - first] for number in others]


def _take_beats(lines: list[bytes], numbers: list[int], points: Points, tick: Tick) -> bool:
    found = _BEATS(b"\n".join(lines))
    if len(found) != len(lines):
        return False
    texts, raw, written = zip(*found, strict=True)
    times = list(map(float, texts))
    ticks = [float(text) if text else t for text, t in zip(written, times, strict=True)]
    if not are_times(times) or not are_times(ticks):
        return False
    tick(numbers, ticks)
    names = _decoded(raw)
    if all(before <= after for before, after in pairwise(times)):
        count = dict.fromkeys(names, 0)
        for name in names:
            count[name] += 1
        last = dict(zip(names, times, strict=True))
        first = dict(zip(reversed(names), reversed(times), strict=True))
        for name, number in count.items():
            points.beat(name, last[name], first[name], number)
    else:
        for name, t in zip(names, times, strict=True):
            points.beat(name, t)
    return True


def _take_node_beats(lines: list[bytes], numbers: list[int], points: Points, tick: Tick) -> bool:
    found = _NODE_BEATS(b"\n".join(lines))
    if len(found) != len(lines) or not are_times([float(text) for t, _, told in found for text in (t, told or t)]):
        return False
    tick(numbers, node_beats.take(found, points))
    return True


def _take_progress(lines: list[bytes], numbers: list[int], points: Points, tick: Tick) -> bool:
    found = _PROGRESS(b"\n".join(lines))
    if len(found) != len(lines):
        return False
    texts, raw, epochs, of, losses, top1s, kept, written = zip(*found, strict=True)
    times = list(map(float, texts))
    loss, top1 = _floats(losses), _floats(top1s)
    ticks = [float(text) if text else t for text, t in zip(written, times, strict=True)]
    if not are_times(times) or not are_times(ticks) or any(map(isinf, loss)) or any(map(isinf, top1)):
        return False
    tick(numbers, ticks)
    points.add_many(
        _decoded(raw), times, list(map(int, epochs)), list(map(int, of)), top1, loss, [each == b"true" for each in kept]
    )
    return True


def are_times(times: Sequence[float]) -> bool:
    """Whether all of these numbers can be times in seconds, as :mod:`accounting.ledger.validation` has it."""
    return not times or (min(times) > -LATEST_T and max(times) < LATEST_T)


def _floats(texts: Sequence[bytes]) -> list[float]:
    """Numbers; null becomes NaN."""
    return [float(b"nan" if text == b"null" else text) for text in texts]


def _decoded(raw: Sequence[bytes]) -> list[str]:
    """Names as text; equal names are one object."""
    known = {name: name.decode() for name in dict.fromkeys(raw)}
    return [known[name] for name in raw]
