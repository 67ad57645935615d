"""A cache of what a command said about a large study, so that asking again does not read the ledger's records again.

The key of an answer is a hash of every byte that it can depend on: the question, the ledger's segments and index,
``study.yaml``, the prices, the stored plans, and the program's own files. They are hashed each time, so no file is
trusted for its name, size or date. If any byte differs, or a cached file is damaged, the records are read. Nothing is
cached for small studies, which are as quick to read.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
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
        with suppress(OSError):
            self.pays = sum(path.stat().st_size for path in segments_in(self._study.ledger)) >= min_bytes
            self._key = self._hash() if self.pays else ""
            return
        self.pays, self._key = False, ""

    def recall(self) -> list[object] | None:
        """What was said when nothing was different from now; None if that is not in the cache."""
        if not self.pays:
            return None
        try:
            kept = json.loads(self._path.read_bytes())
            is_whole = kept["key"] == self._key and kept["sha256"] == _digest(kept["said"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        said = kept["said"]
        return list(plain_values(said)) if is_whole and isinstance(said, list) else None

    def keep(self, said: list[object]) -> None:
        """Cache what was said, unless something has changed meanwhile or the file cannot be written."""
        if not self.pays:
            return
        with suppress(OSError):
            if self._hash() != self._key:
                return
            place = self._path.parent
            place.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"key": self._key, "sha256": _digest(said), "said": said})
            handle, name = tempfile.mkstemp(dir=place)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).replace(self._path)
            kept = sorted(place.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for old in kept[:-MOST_KEPT]:
                old.unlink()

    @property
    def _path(self) -> Path:
        return self._study.remembered / f"{self._key}.json"

    def _hash(self) -> str:
        """A hash of everything that the answer can depend on, as hex digits."""
        study = self._study
        known = [study.config, study.ledger / NAME, study.prices, *sorted(study.plans.glob("*"))]
        program = [
            path
            for package in (accounting, reports)
            for path in sorted(Path(str(package.__file__)).parent.rglob("*.py"))
        ]
        files = [path for path in [*segments_in(study.ledger), *known, *program, Path(__file__)] if path.is_file()]
        with ThreadPoolExecutor(2) as pool:
            digests = list(pool.map(_file_digest, files))
        whole = hashlib.sha256(self._question.encode())
        for path, digest in zip(files, digests, strict=True):
            whole.update(f"\0{path.name}\0{digest}".encode())
        return whole.hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(said: object) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
