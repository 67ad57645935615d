"""Chained lines, which vouch for each other: each has a running number and a hash over itself and all lines before it.

A line ends with ``,"seq":N,"chain":"H"}``. ``N`` counts from 0; ``H`` is BLAKE2b (8 bytes, hex) of the previous hash
and the line's bytes up to ``,"chain"``. So a line that was changed, removed, duplicated or moved is detected, whatever
its content. This protects against accidents and careless edits, not against someone who recomputes the hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice

TAIL = len(',"chain":"') + 16 + len('"}')
FIELDS = ("seq", "chain")


@dataclass
class Chain:
    """The current end of a chain: the number of its next line, and the hash of its last."""

    seq: int = 0
    last: str = ""

    def link(self, body: bytes) -> tuple[bytes, str]:
        """The line (with its newline) for a JSON object ``body``, and its hash; :meth:`move_on` once it is written."""
        start = body[:-1] + b',"seq":%d' % self.seq
        digest = _digest(self.last, start)
        return start + b',"chain":"' + digest.encode() + b'"}\n', digest

    def move_on(self, digest: str) -> None:
        """Make the line with this hash the last one."""
        self.seq, self.last = self.seq + 1, digest


@dataclass
class Checker:
    """Follows the lines of one file and says what is wrong with each."""

    expected: int = 0
    last: str | None = ""
    """Hash of the previous line; None if it cannot be known."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of numbers below :attr:`expected` that no line has had: (first, end), where the end is excluded."""
    late: set[int] = field(default_factory=set)
    """Numbers of missing lines that turned up later."""

    def follow(self, lines: Sequence[bytes], begin: int = 0) -> int:
        """Count how many lines from ``begin`` on are exactly the next ones of the chain, and advance past them."""
        last, expected = self.last, self.expected
        if last is None:
            return 0
        before = last.encode()
        for line in islice(lines, begin, None):
            digest = blake2b(before + line[:-TAIL], digest_size=8).hexdigest().encode()
            if not line.endswith(b',"seq":%d,"chain":"%b"}' % (expected, digest)):
                break
            before, expected = digest, expected + 1
        done, self.expected, self.last = expected - self.expected, expected, before.decode()
        return done

    def problem(self, line: bytes, seq: object, chain: object) -> tuple[str | None, bool]:
        """What is wrong with a line (None: nothing), and whether it is a copy of a line already seen."""
        if type(seq) is not int or type(chain) is not str or seq < 0:
            self.unreadable()
            return "has no running number: it was not written by this program", False
        if seq < self.expected and (seq in self.late or not any(begin <= seq < end for begin, end in self.gaps)):
            return f"is a copy of line {seq + 1}: it is not counted", True
        before, self.last = self.last, chain
        if seq < self.expected:
            self.late.add(seq)
            return f"was line {seq + 1}: lines were moved", False
        missing = seq - self.expected
        if missing:
            self.gaps.append((self.expected, seq))
        self.expected = seq + 1
        if missing:
            return f"follows a gap: {missing} line{'s' if missing > 1 else ''} before it were removed", False
        if before is not None and _digest(before, line[:-TAIL]) != chain:
            return "was changed after it was written", False
        return None, False

    def unreadable(self) -> None:
        """Count a line that is not JSON; the lines after it cannot be checked against it."""
        self.gaps.append((self.expected, self.expected + 1))
        self.last, self.expected = None, self.expected + 1


def _digest(before: str, start: bytes) -> str:
    return blake2b(before.encode() + start, digest_size=8).hexdigest()
