"""A cache of what a command said about a large study, so that asking again does not read the ledger's records again.

The key of an answer is a hash of every byte that it can depend on: the question, the ledger's segments and index,
``study.yaml``, the prices, the stored plans, and the program's own files. They are hashed each time, so no file is
trusted for its name, size or date. If any byte differs, or a cached file is damaged, the records are read. An answer is
cached only if the segments then have the hashes of the bytes that were read, and all else is as it was before. Nothing
is cached for small studies, which are as quick to read.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import accounting
import reports
from accounting.ledger.index import NAME, segments_in
from accounting.study.folder import StudyFolder
from accounting.words.plain_text import plain_values

MIN_BYTES = 4_000_000
"""Smallest ledger for which answers are cached; smaller ones are read within a second."""
MOST_KEPT = 64
"""Most answers cached for a study; the oldest are removed first."""


class Remembered:
    """The cached answer to one question about one study."""

    def __init__(self, folder: Path, question: object, min_bytes: int = MIN_BYTES) -> None:
        self._study, self._question = StudyFolder(folder), json.dumps(question, sort_keys=True)
        self._hashed: Future[dict[str, str]] | None = None
        with suppress(OSError):
            self.pays = sum(path.stat().st_size for path in segments_in(self._study.ledger)) >= min_bytes
            self._rest = self._rest_now() if self.pays else []
            return
        self.pays = False

    def recall(self) -> list[object] | None:
        """What was said when nothing was different from now; None if that is not in the cache."""
        if not self.pays or not any(self._study.remembered.glob("*.json")):
            return None
        try:
            key = self._key(self._segments_now())
            kept = json.loads(self._path(key).read_bytes())
            is_whole = kept["key"] == key and kept["sha256"] == _digest(kept["said"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        said = kept["said"]
        return list(plain_values(said)) if is_whole and isinstance(said, list) else None

    def check_soon(self) -> None:
        """Begin to hash the segments again, now that they have been read; :meth:`keep` does it unless this was called."""
        if self.pays:
            with suppress(RuntimeError):  # no thread can be started; `keep` does it
                pool = ThreadPoolExecutor(1)
                self._hashed = pool.submit(self._segments_now)
                pool.shutdown(wait=False)

    def keep(self, said: list[object], read: Mapping[str, str]) -> None:
        """Cache what was said, unless something has changed meanwhile or the file cannot be written.

        ``read`` are the hashes of the segments as they were read, by name.
        """
        if not self.pays:
            return
        with suppress(OSError):
            segments = self._segments_now() if self._hashed is None else self._hashed.result()
            if segments != read or self._rest_now() != self._rest:
                return
            key, place = self._key(segments), self._study.remembered
            place.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"key": key, "sha256": _digest(said), "said": said})
            handle, name = tempfile.mkstemp(dir=place)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(self._path(key))
            kept = sorted(place.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for old in kept[:-MOST_KEPT]:
                old.unlink()

    def _path(self, key: str) -> Path:
        return self._study.remembered / f"{key}.json"

    def _segments_now(self) -> dict[str, str]:
        """The hash of each segment, by name."""
        paths = segments_in(self._study.ledger)
        with ThreadPoolExecutor(2) as pool:
            return dict(zip((path.name for path in paths), pool.map(_file_digest, paths), strict=True))

    def _rest_now(self) -> list[tuple[str, str]]:
        """The hashes of everything else that the answer can depend on, by name."""
        study = self._study
        known = [study.config, study.ledger / NAME, study.prices, *sorted(study.plans.glob("*"))]
        program = [
            path
            for package in (accounting, reports)
            for path in sorted(Path(str(package.__file__)).parent.rglob("*.py"))
        ]
        return [(path.name, _file_digest(path)) for path in [*known, *program, Path(__file__)] if path.is_file()]

    def _key(self, segments: Mapping[str, str]) -> str:
        whole = hashlib.sha256(self._question.encode())
        for name, digest in [*segments.items(), *self._rest]:
            whole.update(f"\0{name}\0{digest}".encode())
        return whole.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(said: object) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
