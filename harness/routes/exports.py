"""Exports of delivered networks: jobs of their own, proposed together with a route's jobs once a network is delivered."""

from __future__ import annotations

from dataclasses import replace

from accounting.ledger.records import Phase
from harness.jobs.job import Done, Job, Outcome, Route, Wait
from harness.jobs.work import Deliver, Export
from harness.routes.base import Queue, View

KINDS = ("onnx", "int8", "latency", "compact")
"""Kinds of export, which are keys of ``export`` in a config, in the order in which they are proposed."""
EVIDENCE = {"onnx": "onnx_max_abs_error", "int8": "int8", "latency": "latency", "compact": "dead_channels"}
"""By kind: the key in an evaluation's outcome if it made the export itself, as older versions did."""
FILE_OF = {"onnx": "onnx", "compact": "program"}


class WithExports:
    """A route that also exports the networks it delivers. The outcome of an export is told to no route."""

    def __init__(self, route: Route, view: View) -> None:
        self.name, self.replicate = route.name, route.replicate
        self._route, self._view, self._queue = route, view, Queue()
        self._kinds = [kind for kind in KINDS if getattr(view.config.export, kind)]

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`; the route's own jobs come before exports."""
        answer = self._route.ask()
        if isinstance(answer, Job):
            return answer
        mine = self._queue.next(more=False)
        return mine if isinstance(mine, Job) or isinstance(answer, Done) else answer

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`."""
        match job.work:
            case Export():
                self._queue.record(job, outcome)
            case Deliver() as delivery:
                self._route.tell(job, outcome)
                if job.route == self.name and outcome.ok:
                    for kind in self._kinds:
                        if _is_to_make(kind, delivery, outcome):
                            self._put(job, Export(kind, delivery))
            case _:
                self._route.tell(job, outcome)

    def _put(self, delivering: Job, work: Export) -> None:
        id = delivering.id.then("export", work.kind)
        if str(id) in self._queue.awaited | self._queue.outcomes.keys() | {job.name for job in self._queue.ready}:
            return
        self._queue.put(replace(delivering, id=id, phase=Phase.EXPORT, seed=self._view.seed(id), work=work))


def _is_to_make(kind: str, delivery: Deliver, outcome: Outcome) -> bool:
    """Whether there is something to export, and the evaluation has not already done so."""
    found = outcome.metrics
    if EVIDENCE[kind] in found or FILE_OF.get(kind) in (found.get("left_out") or {}):
        return False
    if kind == "latency":  # for a target in milliseconds, the evaluation itself measures the latency
        return delivery.target_latency_ms is None
    if kind == "compact":  # a network that is already smaller is delivered as it is
        return (found.get("size_bytes") or {}).get("program") is None
    return True
