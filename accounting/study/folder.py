"""The layout of a study's folder; the only module that knows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accounting.words.names import file_name

ANSWERS = "answer.json"
"""Name of the file with the answers as JSON, in a report's folder."""


@dataclass(frozen=True)
class StudyFolder:
    """The folder of one study."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved config with the environment; its presence makes a folder a study."""
        return self.root / "study.yaml"

    @property
    def ledger(self) -> Path:
        """The ledger's segments."""
        return self.root / "ledger"

    @property
    def lock(self) -> Path:
        """Held by the one running driver."""
        return self.root / ".lock"

    @property
    def held_note(self) -> Path:
        """What the running driver holds, and when it last saw it held; a killed driver leaves it to the next."""
        return self.root / ".held"

    @property
    def stops(self) -> Path:
        """A note for each running job that is to end at its next checkpoint."""
        return self.root / ".stops"

    @property
    def beats(self) -> Path:
        """Who is at work on which node while a session runs, for the samplers there; removed at its end."""
        return self.root / ".beats"

    @property
    def tune(self) -> Path:
        """Ray Tune's own files while a session runs; never read back."""
        return self.root / ".tune"

    @property
    def checkpoints(self) -> Path:
        """One folder per job."""
        return self.root / "checkpoints"

    @property
    def models(self) -> Path:
        """The delivered networks."""
        return self.root / "models"

    @property
    def plans(self) -> Path:
        """The plans made when the study was started and each time it was extended, one file each."""
        return self.root / "plans"

    @property
    def prices(self) -> Path:
        """Prices of devices and electricity, if the user has put them here."""
        return self.root / "prices.yaml"

    @property
    def plugins(self) -> Path:
        """Copies of the plug-in files that the study was run with."""
        return self.root / "plugins"

    @property
    def remembered(self) -> Path:
        """What was computed for a large study, kept for the next time; may be deleted at any time."""
        return self.root / ".remembered"

    @property
    def compacted(self) -> Path:
        """Sealed segments of a large ledger in Parquet; may be deleted at any time."""
        return self.remembered / "ledger"

    @property
    def loggers(self) -> Path:
        """What each logger was told, and the files of loggers that write here."""
        return self.root / "loggers"

    @property
    def report(self) -> Path:
        """The page, figures and tables."""
        return self.root / "report"

    def checkpoint(self, job: str) -> Path:
        """A job's folder: resumable state, then final weights."""
        return self.checkpoints / job

    def resume(self, job: str) -> Path:
        """State to continue from, at the last epoch boundary; removed once the job is done."""
        return self.checkpoint(job) / "resume.pt"

    def state(self, job: str) -> Path:
        """State of a job for the one that continues its training; removed once that job, or the study, is done."""
        return self.checkpoint(job) / "state.pt"

    def weights(self, job: str) -> Path:
        """Final weights of a finished job."""
        return self.checkpoint(job) / "weights.safetensors"

    def masks(self, job: str) -> Path:
        """Masks of a pruned network, if the job has any."""
        return self.checkpoint(job) / "masks.safetensors"

    def model(self, target: int, label: str, replicate: int) -> Path:
        """The folder of a delivered network; for ``prune:global_lamp`` it is called ``prune-global_lamp``."""
        return self.models / str(target) / file_name(label) / str(replicate)


def home_of(config: Path, name: str) -> Path:
    """Where the study of a config is kept unless it is said: ``runs/<name>``.

    For the ``study.yaml`` that a study keeps, it is that study's folder, wherever it is.
    """
    own = StudyFolder(config.parent)
    return own.root if config.name == own.config.name and own.ledger.is_dir() else Path("runs") / name
