"""The images and classes of a folder: listed by class folder, verified by content, counted, never guessed.

A class is a folder directly under the part's folder, with everything below it. Images are recognised by content,
whatever their extension. Files that are not read (hidden ones, files next to the class folders, other formats, damaged
images) are counted and reported, and nothing takes their place.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from accounting.words.plain_text import plain
from harness.data.cache import read_cached, write_cached
from harness.data.copies import Digests, as_digests
from harness.data.pixels import NotAnImage, opened, read_rgb

log = logging.getLogger(__name__)

FULL_DECODE_FILES = 20_000
"""Parts with at most this many files are decoded completely before use; for larger ones only the headers are read."""
SAY_EVERY_S = 10.0
IGNORED_FOLDERS = ("__MACOSX", "@eaDir", "lost+found")
"""Folders that systems leave behind, besides those that begin with a dot."""
HIDDEN = "hidden"


@dataclass(frozen=True)
class ImageFile:
    """An image: its path relative to the part's folder, and its class, which is the folder's name (NFC)."""

    path: str
    label: str


@dataclass(frozen=True)
class Part:
    """One part of a dataset: images in natural order, class folders (with and without images), and what was not read.

    ``fingerprint`` is a digest of relative paths and contents, independent of the folder's location. ``digests`` are of
    each file's content, or of its size and first 64 KiB if ``is_whole`` is False.
    """

    root: Path
    files: tuple[ImageFile, ...]
    classes: tuple[str, ...]
    not_read: tuple[tuple[str, int, str], ...]
    """(reason, number of files, an example)."""
    fingerprint: str
    digests: Digests = field(compare=False)
    is_whole: bool


def natural_key(text: str) -> tuple[list[int | str], str]:
    """A sort key that puts ``2`` before ``10``, as in timm; names that differ only in case are ordered by letters."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text.lower())], text


def read_part(root: Path) -> Part:
    """List and verify one part; the result for unchanged files is cached.

    Raises:
        OSError: a folder cannot be listed.

    """
    listed = _listed(root)
    key = f"files-{_listing_digest(root, listed)}.json"
    verdict = _cached_verdict(key)
    if verdict is None:
        verdict = _verified(root, [path for path, _, _, skip in listed.entries if skip is None])
        write_cached(key, json.dumps(verdict).encode())
    damaged, fingerprint = verdict["damaged"], verdict["fingerprint"]
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    files = []
    for path, _, _, skip in listed.entries:
        reason = skip or damaged.get(path)
        if reason is None:
            files.append(ImageFile(path, _class_of(path)))
        else:
            reasons[reason] += 1
            examples.setdefault(reason, path)
    not_read = tuple((reason, count, examples[reason]) for reason, count in sorted(reasons.items()))
    digests = as_digests([bytes.fromhex(verdict["digests"])])
    return Part(root, tuple(files), listed.classes, not_read, fingerprint, digests, verdict["is_whole"])


@dataclass(frozen=True)
class _Listing:
    """``entries``: (relative path, size, last change in ns, reason to leave it out or None), in natural order."""

    entries: tuple[tuple[str, int, int, str | None], ...]
    classes: tuple[str, ...]


def _listed(root: Path) -> _Listing:
    entries: list[tuple[str, int, int, str | None]] = []
    classes: list[str] = []
    with os.scandir(root) as found:
        for entry in found:
            if _is_hidden(entry.name):
                entries.append((entry.name, 0, 0, HIDDEN))
            elif _is_folder(entry):
                classes.append(_nfc(entry.name))
                entries += _below(root, entry.name, _folders_above(root))
            else:
                entries.append(_entry(root, entry, entry.name, "next to the class folders"))
    entries.sort(key=lambda entry: natural_key(entry[0]))
    return _Listing(tuple(entries), tuple(sorted(classes, key=natural_key)))


def _below(root: Path, inside: str, above: set[str]) -> Iterator[tuple[str, int, int, str | None]]:
    """Files under a folder, following links, but never back into a folder that contains them, even above the part."""
    real = os.path.realpath(root / inside)
    if real in above:
        yield inside, 0, 0, "a link back to a folder above"
        return
    with os.scandir(root / inside) as found:
        for entry in sorted(found, key=lambda entry: entry.name):
            path = f"{inside}/{entry.name}"
            if _is_hidden(entry.name):
                yield path, 0, 0, HIDDEN
            elif _is_folder(entry):
                yield from _below(root, path, above | {real})
            else:
                yield _entry(root, entry, path, None)


def _folders_above(root: Path) -> set[str]:
    real = Path(os.path.realpath(root))
    return {str(real), *map(str, real.parents)}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, following links; False for a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _entry(root: Path, entry: os.DirEntry[str], path: str, skip: str | None) -> tuple[str, int, int, str | None]:
    try:
        is_file = entry.is_file()
    except OSError:
        is_file = False
    if not is_file:
        return path, 0, 0, "a link that leads nowhere, or no regular file"
    found = (root / path).stat()
    changed_ns = max(found.st_mtime_ns, found.st_ctime_ns)
    return path, found.st_size, changed_ns, skip or ("empty" if found.st_size == 0 else None)


class _Verdict(TypedDict):
    """The files that are not images (path → reason); the fingerprint and digests (16 hex digits each) of the others."""

    damaged: dict[str, str]
    fingerprint: str
    digests: str
    is_whole: bool


def _verified(root: Path, paths: list[str]) -> _Verdict:
    """Read and check every file."""
    decode = len(paths) <= FULL_DECODE_FILES
    damaged: dict[str, str] = {}
    digest, digests = hashlib.sha256(), []
    say_next = time.monotonic() + SAY_EVERY_S
    with ThreadPoolExecutor() as pool:
        looked = (each for block in _blocks(paths) for each in pool.map(lambda p: _looked_at(root, p, decode), block))
        for number, (path, problem, content) in enumerate(looked, 1):
            if problem is not None:
                damaged[path] = problem
            else:
                digest.update(f"{_nfc(path)}\0{content}\n".encode("utf-8", "surrogateescape"))
                digests.append(hashlib.blake2b(content.encode(), digest_size=8).hexdigest())
            if time.monotonic() >= say_next:
                log.warning("%s: %s of %s files checked", root.name, f"{number:,}", f"{len(paths):,}")
                say_next = time.monotonic() + SAY_EVERY_S
    return {"damaged": damaged, "fingerprint": digest.hexdigest(), "digests": "".join(digests), "is_whole": decode}


def _blocks(paths: list[str], size: int = 1000) -> Iterator[list[str]]:
    return (paths[start : start + size] for start in range(0, len(paths), size))


def _looked_at(root: Path, path: str, decode: bool) -> tuple[str, str | None, str]:
    """(path, why it is not an image or None, digest of its content; of its size and first 64 KiB if not decoded)."""
    try:
        if decode:
            content = (root / path).read_bytes()
            read_rgb(content, path)
            return path, None, hashlib.sha256(content).hexdigest()
        opened(root / path).close()
        with (root / path).open("rb") as file:
            start = file.read(65_536)
            size = os.fstat(file.fileno()).st_size
        return path, None, f"{size}:{hashlib.sha256(start).hexdigest()}"
    except NotAnImage as error:
        return path, str(error), ""
    except OSError as error:
        return path, f"cannot be read ({error.strerror})", ""


def _cached_verdict(key: str) -> _Verdict | None:
    raw = read_cached(key)
    try:
        found: _Verdict | None = None if raw is None else json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() >= _Verdict.__required_keys__ else None


def _listing_digest(root: Path, listed: _Listing) -> str:
    """Hash of the folder's path and each file's last change, so that folders with equal files are judged separately."""
    digest = hashlib.sha256(f"3 {FULL_DECODE_FILES} {os.path.realpath(root)}\n".encode("utf-8", "surrogateescape"))
    for path, size, changed_ns, skip in listed.entries:
        digest.update(f"{path}\0{size}\0{changed_ns}\0{skip}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _class_of(path: str) -> str:
    return _nfc(path.partition("/")[0])


def _nfc(text: str) -> str:
    """Text with one encoding of accents; macOS stores them separately from their letters, other systems together."""
    return unicodedata.normalize("NFC", text)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in IGNORED_FOLDERS


def not_read_notes(parts: Iterable[Part]) -> tuple[str, ...]:
    """One sentence per part about the files that were not read."""
    return tuple(
        f"{part.root.name}/: {_not_used(sum(count for _, count, _ in part.not_read))}: "
        + "; ".join(f"{count:,} {reason} (such as {plain(example)})" for reason, count, example in part.not_read)
        for part in parts
        if part.not_read
    )


def _not_used(count: int) -> str:
    return "1 file is not used" if count == 1 else f"{count:,} files are not used"
