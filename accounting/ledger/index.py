"""The index of a ledger, which lists the segments that must exist: ``ledger/segments.index``, chained JSON lines.

Its first line gives the ledger an id and names the segments that are older than the index. A writer registers its
segment under a lock, before the segment's first record. The driver seals segments (length and SHA-256) when a session
has ended, or when the next one begins. So a segment that is missing, cut, changed, or from another study is detected
(:mod:`accounting.ledger.integrity`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from accounting.ledger.chain import Chain, Checker
from accounting.ledger.files import sync_folder, write_line
from accounting.ledger.findings import Finding
from accounting.ledger.records import Record

NAME = "segments.index"
"""Not ``*.jsonl``, so that code which reads all segments of a folder, older versions included, leaves it out."""
BLOCK = 1 << 14
"""Bytes of the index read at a time when only its beginning or end is needed."""
WORKER = "worker"
"""The writer part in the names of segments that begin attempts."""


class Opener(TypedDict):
    """Who writes a segment."""

    writer: str
    session: str
    host: str
    pid: int


class Seal(TypedDict):
    """Name, length in bytes and hash of a segment up to its last whole line."""

    segment: str
    bytes: int
    sha256: str


class IndexLine(TypedDict, total=False):
    """A line of the index: an ``index_opened``, a ``segment`` with its opener, or a ``sealed``."""

    kind: str
    t: float
    seq: int
    chain: str
    ledger: str
    adopted: list[Seal]
    rebuilt: bool
    segment: str
    writer: str
    session: str
    host: str
    pid: int
    segments: list[Seal]


@dataclass
class Index:
    """The content of the index. ``segments``: name to its line; ``seals``: name to its last seal."""

    ledger: str = ""
    segments: dict[str, IndexLine] = field(default_factory=dict)
    seals: dict[str, Seal] = field(default_factory=dict)
    num_registered: int = 0
    findings: list[Finding] = field(default_factory=list)


def segments_in(folder: Path) -> list[Path]:
    """The segment files, sorted by name; not hidden ones, such as macOS leaves beside each file that it copies."""
    return sorted(path for path in folder.glob("*.jsonl") if not path.name.startswith("."))


def segments_in_turn(folder: Path) -> Iterator[Path]:
    """The same in the order in which to read a ledger while it is written: workers' segments last, and listed again.

    A sampler names an attempt only once its start is on disk. So every attempt named in what was read before has its
    start in what is read after.
    """
    yield from (path for path in segments_in(folder) if not begins_attempts(path.name))
    yield from (path for path in segments_in(folder) if begins_attempts(path.name))


def sessions_in(index: Index | None) -> list[str]:
    """The sessions that wrote segments, in the order in which they began to write, whatever their clocks said."""
    entries = () if index is None else index.segments.values()
    return list(dict.fromkeys(entry["session"] for entry in entries if "session" in entry))


def begins_attempts(segment: str) -> bool:
    """Whether a worker writes it, by its name: time, writer, host (which can be any text)."""
    return segment.split("-", 2)[1:2] == [WORKER]


def lost_ledger(folder: Path, *, begun: bool = True) -> str | None:
    """Why a study's ledger cannot be used at all, as one line; None if it can.

    A study that was interrupted before its first segment has an index without segments. That is fine unless ``begun``
    is set, as by callers that read costs.
    """
    if folder.exists() and not folder.is_dir():
        return (
            f"{folder} is a file where the ledger should be; restore the folder from a copy, or name another with --out"
        )
    if segments_in(folder):
        return None
    index = read_index(folder)
    if index is None:
        return (
            f"{folder} is missing or empty: without its ledger a study has no costs, and would be paid for again; restore "
            "it from a copy, or name another folder with --out"
        )
    if index.segments or index.findings:
        return (
            f"{folder} has lost all of its {len(index.segments)} segments; restore them from a copy, or name another "
            "folder with --out"
        )
    return f"{folder} has no segment yet: the study was cut off before it began; `run` starts it" if begun else None


def open_index(folder: Path) -> str:
    """The ledger's id; if there is no index, it is created with the existing segments."""
    with _locked(folder) as (file, chain):
        return _ensure(folder, file, chain)


def register(folder: Path, segment: str, opener: Opener) -> str:
    """Register a segment before its first record; returns the ledger's id."""
    with _locked(folder) as (file, chain):
        ledger = _ensure(folder, file, chain, without=segment)
        entry: IndexLine = {"kind": "segment", "t": time.time(), "segment": segment}
        _append(file, chain, {**entry, **opener})
        return ledger


def seal(folder: Path, *, without: str = "") -> None:
    """Record length and hash of every segment (except ``without``) that has grown since it was last sealed."""
    index = read_index(folder)
    if index is None:
        return
    grown = [
        path
        for path in segments_in(folder)
        if path.name != without
        and path.name in index.segments
        and path.stat().st_size > (index.seals[path.name]["bytes"] if path.name in index.seals else 0)
    ]
    if grown:
        with _locked(folder) as (file, chain):
            _append(file, chain, {"kind": "sealed", "t": time.time(), "segments": [_seal_of(path) for path in grown]})


def read_index(folder: Path) -> Index | None:
    """The content of the index; None if there is none. A torn last line is skipped: its writer had not begun."""
    try:
        content = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None
    index, checker = Index(), Checker()
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            entry = json.loads(line)
            problem, is_copy = checker.problem(line, entry.get("seq"), entry.get("chain"))
            if not is_copy:
                _enter(entry, index)
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError, OverflowError, OSError):
            checker.unreadable()
            problem = "cannot be read"
        if problem is not None:
            message = f"{NAME}:{number}: this line {problem}; segments may be missing unnoticed; restore it from a copy"
            index.findings.append(Finding("error", "index_damaged", message))
    return index


def _enter(entry: IndexLine, index: Index) -> None:
    if entry["kind"] == "index_opened":
        index.ledger = str(entry["ledger"])
        for known in map(_checked, entry["adopted"]):
            index.segments[known["segment"]] = {"segment": known["segment"]}
            index.seals[known["segment"]] = known
        if entry["rebuilt"]:
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(entry["t"]))
            message = f"{NAME} was gone and was made again on {when}: segments lost before that are not noticed"
            index.findings.append(Finding("error", "index_rebuilt", message))
    elif entry["kind"] == "segment":
        if not all(type(entry.get(name, "")) is str for name in ("segment", "session", "writer", "host")):
            raise TypeError("not a segment")
        index.segments[entry["segment"]] = entry
        index.num_registered += 1
    elif entry["kind"] == "sealed":
        for known in map(_checked, entry["segments"]):
            index.seals[known["segment"]] = known


def _checked(seal: Seal) -> Seal:
    """The seal; ``TypeError`` if it is none."""
    if (type(seal["segment"]), type(seal["bytes"]), type(seal["sha256"])) != (str, int, str):
        raise TypeError("not a seal")
    return seal


def _ensure(folder: Path, file: int, chain: Chain, without: str = "") -> str:
    content = _head(file)
    if content:
        try:
            return str(json.loads(content.split(b"\n", 1)[0])["ledger"])
        except (ValueError, KeyError, TypeError):
            return ""
    there = [path for path in segments_in(folder) if path.name != without]
    ids = [opening["ledger"] for path in there if "ledger" in (opening := _opening(path))]
    ledger = max(set(ids), key=ids.count) if ids else secrets.token_hex(8)
    adopted = [_seal_of(path) for path in there]
    kind, is_rebuilt = "index_opened", bool(ids)
    _append(file, chain, {"kind": kind, "t": time.time(), "ledger": ledger, "adopted": adopted, "rebuilt": is_rebuilt})
    sync_folder(folder)
    return ledger


def _opening(path: Path) -> Record:
    with path.open("rb") as file:
        try:
            first: Record = json.loads(file.readline())
        except ValueError:
            return {}
    return first if isinstance(first, dict) else {}


def _seal_of(path: Path) -> Seal:
    """The seal of a segment in its current state."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    return {"segment": path.name, "bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}


def _append(file: int, chain: Chain, entry: IndexLine) -> None:
    line, digest = chain.link(json.dumps(entry, separators=(",", ":")).encode())
    write_line(file, line)
    chain.move_on(digest)


@contextmanager
def _locked(folder: Path) -> Iterator[tuple[int, Chain]]:
    """The index, open for appending, and its chain so far; a torn end, left by a writer that died, is cut off."""
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        content = _tail(file, size)
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(file, size - len(content) + whole)
        yield file, _chain_of(content[:whole], file)
    finally:
        os.close(file)


def _head(file: int) -> bytes:
    """At least the whole first line, which can be long because it names the segments older than the index."""
    size = os.fstat(file).st_size
    content = os.pread(file, BLOCK, 0)
    while b"\n" not in content and len(content) < size:
        content = os.pread(file, 2 * len(content), 0)
    return content


def _tail(file: int, size: int) -> bytes:
    """The end of the file, from before its last whole line, so that registering a segment reads no long index."""
    length = BLOCK
    while length < size:
        content = os.pread(file, length, size - length)
        if content.count(b"\n") >= 2:  # with a whole line between them
            return content
        length *= 2
    return os.pread(file, size, 0)


def _chain_of(content: bytes, file: int) -> Chain:
    """The current end of the chain; ``content`` is the file's end, up to its last whole line."""
    last = content.rstrip(b"\n").rpartition(b"\n")[2]
    if not last:
        return Chain()
    try:
        entry = json.loads(last)
        return Chain(int(entry["seq"]) + 1, str(entry["chain"]))
    except (ValueError, KeyError, TypeError):
        return Chain(os.pread(file, os.fstat(file).st_size, 0).count(b"\n"), "")
