"""Where an attempt works: the study's folder, session and data, and the devices that it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from accounting.ledger.presence import Presence, presence_of
from accounting.study.folder import StudyFolder
from accounting.study.plugins import PluginFile
from harness.config.study import DatasetConfig
from harness.devices import Held
from harness.jobs.files import Given
from harness.jobs.job import Job
from harness.jobs.spec import to_json
from harness.work.liveness import Life
from harness.work.peers import PeerPlace, is_shared


@dataclass(frozen=True)
class Workplace:
    """What an attempt needs besides its job: the study's folder, session and data, and the devices it holds."""

    paths: StudyFolder
    session: str
    dataset: DatasetConfig
    held: Held
    given: Given | None = None
    """What is recorded about the files that the job uses; None: they are not verified."""
    life: Life = field(default_factory=Life)
    plugins: tuple[PluginFile, ...] = ()
    """The user's own plug-in files that the study names, in the study's folder."""
    since_t: float = float("inf")
    """When the job was proposed. An outcome recorded since then comes from another attempt at the same proposal."""

    stop: Callable[[], str | None] = lambda: None
    """Returns why the job should end at its next checkpoint (its route's budget is spent), or None to continue."""

    checkpoint_every_s: float | None = None
    """After how many seconds within an epoch a training's state is saved; None: only at the end of epochs."""

    @property
    def presence(self) -> Presence:
        """Where attempts on this machine register for its sampler."""
        return presence_of(self.paths.beats, self.session, self.held.node)

    def num_workers(self, job: Job) -> int:
        """How many workers share the job here."""
        return self.held.num_workers if is_shared(job) else 1

    def of_peers(self, job: Job) -> PeerPlace | None:
        """What the job's other workers are told; None if there are none."""
        if self.num_workers(job) == 1:
            return None
        return {
            "rank": 1,
            "size": self.num_workers(job),
            "store": "",
            "job": {**to_json(job)},
            "root": str(self.paths.root),
            "dataset": self.dataset.model_dump(exclude_unset=True),
            "plugins": [file.as_dict() for file in self.plugins],
            "torch_device": self.held.torch_device,
            "num_threads": self.held.num_threads,
            "checkpoint_every_s": self.checkpoint_every_s,
        }
