"""Copies a study to a bucket: everything is copied as soon as it is final, and never changed there.

| key | what | when |
|---|---|---|
| ``ledger/<segment>`` | a sealed segment of the ledger | when its session ends |
| ``sessions/<session>/…`` | ``study.yaml``, ``segments.index`` and the plans at that time | when the session ends |
| ``models/<target>/<label>/<replicate>/<version>/…`` | a delivered network; ``MANIFEST.json`` last | within a minute |
| ``checkpoints/<job>/<version>/…`` | weights and masks of a finished job, if asked for | within a minute |

A *version* is a hash of the files' names and contents, so a network that is delivered again is a new object. The *loss
window* is the running session: its segments are sealed and copied when it ends, or by the next ``run`` if its driver
was killed. If the bucket cannot be reached, a warning is logged and the study continues; the next look copies the rest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accounting.ledger.index import NAME, read_index
from accounting.ledger.records import Kind, Status
from accounting.ledger.store import LedgerError, read_lean
from accounting.study.beside import in_thread
from accounting.study.folder import StudyFolder
from harness.config.store import StoreConfig
from harness.errors import one_line
from harness.paths import replacing
from harness.stored.object_store import ObjectStore, sha256_of

log = logging.getLogger(__name__)

LOOK_S = 30.0
MANIFEST = "MANIFEST.json"
FILES_OF_JOB = ("weights.safetensors", "masks.safetensors")


@contextmanager
def kept_in_store(config: StoreConfig | None, paths: StudyFolder, session: str) -> Iterator[None]:
    """Copy what becomes final to the bucket while the block runs, and the session's own files after it."""
    if config is None:
        yield
        return
    keeper = Keeper(ObjectStore(config.url), paths, with_checkpoints=config.checkpoints)

    def watch(over: threading.Event) -> None:
        while not over.wait(LOOK_S):
            keeper.look()

    try:
        with in_thread("store", watch):
            yield
    finally:
        keeper.look()
        keeper.end(session)


class Keeper:
    """Copies one study to its bucket."""

    def __init__(self, store: ObjectStore, paths: StudyFolder, *, with_checkpoints: bool = False) -> None:
        self._store, self._paths, self._with_checkpoints = store, paths, with_checkpoints
        self._note = paths.remembered / "store.json"
        self._there: dict[str, str] = self._read_note()
        """Hashes of what is already in the bucket, by key; it is not looked at again."""

    def look(self) -> None:
        """Copy what is final and not yet in the bucket."""
        try:
            self._segments()
            self._models()
            if self._with_checkpoints:
                self._checkpoints()
        except (OSError, LedgerError) as error:
            log.warning(
                "%s: not all was copied; the rest follows at the next look: %s", self._store.url, one_line(error)
            )

    def end(self, session: str) -> None:
        """Copy what the session leaves in addition to its ledger: ``study.yaml``, the index and the plans."""
        plans = sorted(self._paths.plans.glob("*.json")) if self._paths.plans.is_dir() else []
        try:
            for path in (self._paths.config, self._paths.ledger / NAME, *plans):
                if path.exists():
                    self._put(path, f"sessions/{session}/{path.relative_to(self._paths.root).name}")
        except OSError as error:
            log.warning("%s: the end of the session was not copied: %s", self._store.url, one_line(error))

    def _segments(self) -> None:
        index = read_index(self._paths.ledger)
        for name, seal in sorted({} if index is None else index.seals.items()):
            path, key = self._paths.ledger / name, f"ledger/{name}"
            if key not in self._there and path.exists() and path.stat().st_size >= seal["bytes"]:
                if sha256_of(path, seal["bytes"]) != seal["sha256"]:
                    log.warning("%s was changed after it was sealed, and is not copied", path)
                    continue
                self._put(path, key, seal["bytes"])

    def _models(self) -> None:
        for metrics in sorted(self._paths.models.glob("*/*/*/metrics.json")):
            if metrics.parent.name.startswith("."):
                continue  # not yet whole, or left by an attempt that was killed
            self._folder(metrics.parent, f"models/{metrics.parent.relative_to(self._paths.models).as_posix()}")

    def _checkpoints(self) -> None:
        records = read_lean(self._paths.ledger).records
        jobs = {r["attempt"]: r["job"] for r in records if r["kind"] == Kind.ATTEMPT_STARTED}
        done = {r["attempt"] for r in records if r["kind"] == Kind.ATTEMPT_ENDED and r["status"] == Status.OK}
        for job in sorted({jobs[attempt] for attempt in done if attempt in jobs}):
            folder = self._paths.checkpoint(job)
            self._folder(folder, f"checkpoints/{job}", [folder / name for name in FILES_OF_JOB])

    def _folder(self, folder: Path, key: str, files: list[Path] | None = None) -> None:
        """Copy a folder as a new version, manifest last; a folder that changes meanwhile is left for the next look."""
        found = sorted(path for path in (files or folder.rglob("*")) if path.is_file())
        if not found:
            return
        stamp = json.dumps([(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in found])
        if self._there.get(f"{key}/") == (seen := hashlib.sha256(stamp.encode()).hexdigest()):
            return
        sums = {path.relative_to(folder).as_posix(): sha256_of(path) for path in found}
        version = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:12]
        for path in found:
            name = path.relative_to(folder).as_posix()
            if self._put(path, f"{key}/{version}/{name}") != sums[name]:
                return
        with replacing(self._paths.remembered / MANIFEST) as temporary:
            temporary.write_text(json.dumps({"files": sums}, indent=1), encoding="utf-8")
            self._put(temporary, f"{key}/{version}/{MANIFEST}")
        (self._paths.remembered / MANIFEST).unlink(missing_ok=True)
        self._there[f"{key}/"] = seen
        self._write_note()

    def _put(self, path: Path, key: str, length: int | None = None) -> str:
        if key not in self._there:
            self._there[key] = self._store.put(path, key, length)
            self._write_note()
        return self._there[key]

    def _read_note(self) -> dict[str, str]:
        try:
            note = json.loads(self._note.read_bytes())
            return dict(note["there"]) if note["url"] == self._store.url else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write_note(self) -> None:
        with replacing(self._note) as temporary:
            temporary.write_text(json.dumps({"url": self._store.url, "there": self._there}), encoding="utf-8")
