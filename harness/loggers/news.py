"""The news of a study from its ledger, each once: the sentences that a terminal shows, and their numbers as series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from accounting.cost.attempts import derive
from accounting.cost.shares import counted
from accounting.ledger.records import Kind, Phase, Record, Status
from accounting.words.names import file_name
from accounting.words.quantities import HOUR_S, macs_text
from harness.console.events import Narrator
from harness.loggers.base import News, Scalar

Offsets = Mapping[str, int]
"""The last line that has been told, by segment of the ledger."""
ENDS = (Kind.ATTEMPT_ENDED, Kind.ATTEMPT_LOST)


def offsets_of(records: Iterable[Record]) -> dict[str, int]:
    """The last line among these records, by segment."""
    found: dict[str, int] = {}
    for record in records:
        found[record["segment"]] = max(record["line"], found.get(record["segment"], 0))
    return found


class NewsOf:
    """Turns what is new in a ledger, beyond ``told``, into news."""

    def __init__(self, records: Sequence[Record], told: Offsets) -> None:
        self._told = dict(told)
        self._narrator = Narrator(record for record in records if not self._is_new(record))

    def tell(self, records: Sequence[Record]) -> list[News]:
        """The news of records that have not been told, in order of time."""
        fresh = [record for record in records if self._is_new(record)]
        if not fresh:
            return []
        news = [News(event.t, event.text) for event in self._narrator.tell(records) if not event.is_detail]
        news += self._numbers(fresh, records)
        self._told = offsets_of(records)
        return sorted(news, key=lambda one: one.t)

    def _is_new(self, record: Record) -> bool:
        return record["line"] > self._told.get(record["segment"], 0)

    def _numbers(self, fresh: Sequence[Record], records: Sequence[Record]) -> Iterator[News]:
        begun = {r["attempt"]: r for r in records if r["kind"] == Kind.ATTEMPT_STARTED}
        for record in fresh:
            attempt = begun.get(record.get("attempt", ""))
            if attempt is None:
                continue
            if record["kind"] == Kind.PROGRESS:
                yield News(record["t"], scalars=tuple(_epoch(record, attempt)))
            elif record["kind"] == Kind.ATTEMPT_ENDED and attempt["phase"] == Phase.EVALUATE:
                yield News(record["t"], scalars=tuple(_delivered(record, attempt)))
        if any(record["kind"] in ENDS for record in fresh):
            yield from _spent(fresh, records)


def _epoch(record: Record, attempt: Record) -> Iterator[Scalar]:
    for name in ("val_top1", "train_loss"):
        if (value := _number(record.get(name))) is not None:
            yield Scalar(f"{attempt['job']}/{name}", value, int(record["epoch"]))


def _delivered(record: Record, attempt: Record) -> Iterator[Scalar]:
    outcome = record["outcome"] if isinstance(record["outcome"], dict) else {}
    if record["status"] != Status.OK or attempt["target"] is None:
        return
    label = file_name(str(outcome.get("label", attempt["route"])))
    for name in ("val_top1", "test_top1", "macs"):
        if (value := _number(outcome.get(name))) is not None:
            yield Scalar(f"delivered/{label}/{macs_text(attempt['target'])}/{name}", value, attempt["replicate"])


def _spent(fresh: Sequence[Record], records: Sequence[Record]) -> Iterator[News]:
    """Device-hours of a route so far, whenever one of its attempts ends; the step counts the study's ended attempts."""
    view = derive(list(records))
    new = {record["attempt"] for record in fresh if record["kind"] in ENDS}
    spent: dict[str, float] = {}
    ended = sorted((a for a in counted(view) if a.status is not Status.RUNNING), key=lambda a: (a.end_t, a.attempt))
    for step, attempt in enumerate(ended, start=1):
        spent[attempt.route] = spent.get(attempt.route, 0.0) + attempt.allocated_s / HOUR_S
        if attempt.attempt in new:
            scalar = Scalar(f"spent_{view.unit}/{attempt.route}", spent[attempt.route], step)
            yield News(attempt.end_t, scalars=(scalar,))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
