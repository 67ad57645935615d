"""The events of a study, read from its ledger: for a log, as JSON lines, or above a progress bar."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from accounting.cost.attempts import derive
from accounting.cost.shares import ledger_h
from accounting.ledger.records import Kind, Record, Status
from accounting.study.facts import REHEARSAL
from accounting.study.plugins import PluginFile
from accounting.words.json_values import ChangedKey, changed_text
from accounting.words.names import Unit, label_text, unit_text
from accounting.words.plain_text import plain
from accounting.words.quantities import macs_text
from accounting.words.task import task
from harness.jobs.job import Job
from reports.words.wording import number, percent

SPLIT_TEXT = {"val_top1": "validation", "test_top1": "test"}


class Totals(TypedDict):
    """Number of jobs in the whole study, by how they ended, and device-hours of ``unit``."""

    done: int
    failed: int
    hours: float
    unit: Unit


class JobFacts(TypedDict):
    """The job that an event is about."""

    job: str
    route: str
    phase: str
    target: int | None
    replicate: int


@dataclass(frozen=True)
class Event:
    """Something that happened at ``t`` (Unix seconds): a name such as ``finished``, a sentence, and facts for JSON."""

    t: float
    name: str
    text: str
    facts: Mapping[str, object] = field(default_factory=dict)
    is_detail: bool = False
    """Whether it is shown only in verbose output."""

    @property
    def line(self) -> str:
        """One line of text, such as ``2026-11-25T21:05:00Z finished …``."""
        return f"{timestamp(self.t)} {plain(self.text)}"

    @property
    def json(self) -> str:
        """One JSON object on one line."""
        return json_line(self.t, self.name, self.facts)


def timestamp(t: float) -> str:
    """Seconds since 1970 as UTC in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))


def stopped(job: Job) -> Event:
    """A job is not run because its route's budget does not pay for it."""
    facts = {"job": job.name, "route": job.route, "phase": str(job.phase), "target": job.target}
    return Event(
        time.time(),
        "stopped",
        f"not run: {job.name}, since the budget of {job.route} does not pay for it",
        {**facts, "replicate": job.replicate},
    )


def prepares(what: str) -> Event:
    """A run does what takes long before its session begins."""
    return Event(time.time(), "prepares", what)


def executes(file: PluginFile) -> Event:
    """The study is about to execute a file of the user's own."""
    return Event(time.time(), "executes", f"executes {file.text}", {"path": file.path, "sha256": file.sha256})


def rehearses(changes: Sequence[ChangedKey]) -> Iterator[Event]:
    """The study is cut down to a rehearsal: one event for that, and one for each changed key of its config."""
    yield Event(time.time(), "rehearsal", f"{REHEARSAL}; {len(changes)} keys of the config are changed")
    for change in changes:
        facts = {"key": change["key"], "old": change["old"], "new": change["new"]}
        yield Event(time.time(), "changed", f"changed {changed_text(change)}", facts)


def json_line(t: float, name: str, facts: Mapping[str, object]) -> str:
    """One event as a JSON object on one line."""
    return json.dumps({"t": timestamp(t), "event": name, **facts}, default=str)


class Narrator:
    """Turns new records of a ledger into events, each record once; ``records`` are those that are already known."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._told: dict[str, int] = {}
        self._attempts: dict[str, Record] = {}
        self._tries: dict[str, int] = {}
        for record in records:
            self._remember(record)

    def tell(self, records: Sequence[Record]) -> Iterator[Event]:
        """The events of new records, in the order of the ledger."""
        for record in records:
            if record["line"] > self._told.get(record["segment"], 0):
                self._remember(record)
                yield from self._session(record, records) or self._events(record)

    def _remember(self, record: Record) -> None:
        self._told[record["segment"]] = max(record["line"], self._told.get(record["segment"], 0))
        if record["kind"] == Kind.ATTEMPT_STARTED:
            self._attempts[record["attempt"]] = record
            self._tries[record["job"]] = self._tries.get(record["job"], 0) + 1

    def _session(self, record: Record, records: Sequence[Record]) -> list[Event]:
        """The event of a session's begin, with the jobs done before it, or of its end, with the study's totals."""
        if record["kind"] == Kind.SESSION_OPENED:
            before = [r for r in records if r["t"] < record["t"]]
            done, name = _totals(before)["done"] if before else 0, record["study"]
            text = f"session begun: {name}" + (f", resumed with {done} jobs done" if before else "")
            return [Event(record["t"], "session_begun", text, {"study": name, "done": done})]
        if record["kind"] == Kind.SESSION_CLOSED:
            totals, reason = _totals(records), record["reason"]
            text = (
                f"session ended ({reason}): {totals['done']} jobs done, {totals['failed']} failed; "
                f"{number(totals['hours'])} {unit_text(totals['unit'])} spent on the study"
            )
            return [Event(record["t"], "session_ended", text, {"reason": reason, **totals})]
        return []

    def _events(self, record: Record) -> Iterator[Event]:
        kind, t = record["kind"], record["t"]
        if kind == Kind.ATTEMPT_STARTED:
            number = self._tries[record["job"]]
            name, text = ("started", "started") if number == 1 else ("retried", f"retried (attempt {number})")
            yield Event(t, name, f"{text} {record['job']}", {**_job(record), "attempt": number})
        elif kind == Kind.ATTEMPT_ENDED and record["attempt"] in self._attempts:
            yield from _ended(record, self._attempts[record["attempt"]])
        elif kind == Kind.ATTEMPT_LOST:
            facts = {"job": record["job"], "reason": record["reason"]}
            yield Event(t, "lost", f"lost {record['job']}: {record['reason']}", facts)
        elif kind == Kind.JOB_ABANDONED:
            facts = {"job": record["job"], "reason": record["reason"]}
            yield Event(t, "given_up", f"given up {record['job']}: {record['reason']}", facts)
        elif kind == Kind.STUDY_EXTENDED:
            keys = ", ".join(str(change.get("key")) for change in record["changes"])
            yield Event(t, "extended", f"study extended: {keys}", {"changes": record["changes"]})
        elif kind == Kind.PROGRESS and record["attempt"] in self._attempts:
            job = self._attempts[record["attempt"]]["job"]
            which = f"epoch {record['epoch']} of {record['num_epochs']} of {job}"
            text = f"{which}: validation {task().metric} {percent(record['val_top1'])}"
            seen = {
                "job": job,
                "epoch": record["epoch"],
                "num_epochs": record["num_epochs"],
                "val_top1": record["val_top1"],
                "train_loss": record["train_loss"],
            }
            yield Event(t, "epoch", text, seen, is_detail=True)
        elif kind == Kind.CHECKPOINT and record["attempt"] in self._attempts:
            job, epochs = self._attempts[record["attempt"]]["job"], record["epoch"]
            text = f"saved within an epoch, after {epochs:.3g} of them: {job}"
            yield Event(t, "checkpoint", text, {"job": job, "epochs": epochs}, is_detail=True)


def _totals(records: Sequence[Record]) -> Totals:
    """Totals of the study: jobs by how they ended, and device-hours."""
    view = derive(records)
    return {
        "done": sum(job.status is Status.OK for job in view.jobs),
        "failed": view.num_failed,
        "hours": ledger_h(view).get(view.device_kind, 0.0),
        "unit": view.unit,
    }


def _ended(record: Record, started: Record) -> Iterator[Event]:
    job, outcome = started["job"], record["outcome"] or {}
    if record.get("stopped"):
        yield Event(
            record["t"], "stopped", f"{job} was {record['reason']}", {**_job(started), "reason": record["reason"]}
        )
        return
    if record["status"] != Status.OK:
        yield Event(
            record["t"], "failed", f"failed {job}: {record['reason']}", {**_job(started), "reason": record["reason"]}
        )
        return
    found = {"val_top1": outcome.get("val_top1"), "test_top1": outcome.get("test_top1")}
    scores = {key: value for key, value in found.items() if isinstance(value, int | float)}
    said = ", ".join(f"{SPLIT_TEXT[key]} {task().metric} {percent(value)}" for key, value in scores.items())
    yield Event(record["t"], "finished", f"finished {job}{': ' * bool(said)}{said}", {**_job(started), **scores})
    spec = started["spec"] if isinstance(started["spec"], dict) else {}
    deliver = spec.get("deliver")
    if isinstance(deliver, dict) and "label" in deliver and started["phase"] == "evaluate":
        where = f"{label_text(str(deliver['label']))} at {macs_text(started['target'] or 0)} MACs"
        facts = {"label": deliver["label"], "target": started["target"], "replicate": started["replicate"], **scores}
        yield Event(record["t"], "delivered", f"delivered {where}, replicate {started['replicate']}", facts)


def _job(started: Record) -> JobFacts:
    return {
        "job": started["job"],
        "route": started["route"],
        "phase": started["phase"],
        "target": started["target"],
        "replicate": started["replicate"],
    }
