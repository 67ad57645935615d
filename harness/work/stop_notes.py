"""How a driver asks a running job to end at its next checkpoint: by a note in the study's folder."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from accounting.study.folder import StudyFolder
from harness.paths import replacing


class StopNotes:
    """The notes of a study: one file for each job, with the reason in it."""

    def __init__(self, paths: StudyFolder) -> None:
        self._folder = paths.stops

    def ask(self, job: str, reason: str) -> None:
        """Ask the job to end."""
        with replacing(self._of(job)) as temporary:
            temporary.write_text(reason, encoding="utf-8")

    def why(self, job: str) -> str | None:
        """Why the job is to end; None where nobody asks that."""
        with suppress(OSError, UnicodeDecodeError):
            return self._of(job).read_text(encoding="utf-8")
        return None

    def forget(self, job: str) -> None:
        """It has ended, or begins."""
        self._of(job).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget what an earlier session asked for."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _of(self, job: str) -> Path:
        return self._folder / f"{job}.txt"
