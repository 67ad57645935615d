"""A node's sampler in a process of its own: an actor class that imports neither Ray nor torch."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from accounting.ledger.presence import presence_of
from accounting.ledger.sampler import Sampler, keep_beating
from accounting.ledger.store import LedgerWriter
from accounting.meters.node import node_reader
from accounting.study.folder import StudyFolder
from harness.work.liveness import EXIT_CODE, WorkerLife, watch_between_attempts


class NodeSampler:
    """Beats from :meth:`run` until :meth:`end`, which another thread calls. ``cpu`` is the node's cores as a device.

    The process ends when its raylet is dead or its session is over. The ledger's segments are then sealed, and nothing
    may be written to them.
    """

    def __init__(self, root: str, session: str, node: str, cpu: str) -> None:
        self._paths, self._session = StudyFolder(Path(root)), session
        self._life = WorkerLife(self._paths.root, session)
        watch_between_attempts(self._life)
        self._ledger: LedgerWriter | None = None
        presence = presence_of(self._paths.beats, session, node)
        self._sampler = Sampler(presence, self._writer, session, node, node_reader(cpu))
        self._ended = threading.Event()

    def run(self) -> None:
        """Beat, and record at the end what was seen."""
        keep_beating(self._sampler, self._ended)

    def end(self) -> None:
        """End :meth:`run`."""
        self._ended.set()

    def _writer(self) -> LedgerWriter:
        if self._life.lost() is not None:
            os._exit(EXIT_CODE)
        if self._ledger is None:
            self._ledger = LedgerWriter(self._paths.ledger, self._session, "sampler")
        return self._ledger
