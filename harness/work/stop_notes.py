"""How a driver asks a running job to end at its next checkpoint: with a note in the study's folder."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from accounting.study.folder import StudyFolder
from harness.paths import replacing


class StopNotes:
    """A study's notes: one file per job, which contains the reason."""

    def __init__(self, paths: StudyFolder) -> None:
        self._folder = paths.stops

    def ask(self, job: str, reason: str) -> None:
        """Ask the job to end."""
        with replacing(self._of(job)) as temporary:
            temporary.write_text(reason, encoding="utf-8")

    def why(self, job: str) -> str | None:
        """Why the job should end; None if nobody asked for it."""
        with suppress(OSError, UnicodeDecodeError):
            return self._of(job).read_text(encoding="utf-8")
        return None

    def forget(self, job: str) -> None:
        """Remove the job's note, when the job ends or begins."""
        self._of(job).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the notes of an earlier session."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _of(self, job: str) -> Path:
        return self._folder / f"{job}.txt"
