"""How a study grew: its first plan, and each extension with the number of networks delivered by then.

Adding replicates after a look at the results is optional stopping. Verdicts correct for it, using :func:`num_looks`,
and every report says where it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from accounting.ledger.records import Kind, Phase, Planned, Record, Status
from accounting.study.facts import StudyFacts
from accounting.words.json_values import Fields, Json


@dataclass(frozen=True)
class Extension:
    """A change of one config key at ``t`` (Unix seconds), when ``networks_before`` networks had been delivered."""

    t: float
    key: str
    old: Json
    new: Json
    networks_before: int

    def as_dict(self) -> Fields:
        """The extension as a dictionary for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class History:
    """``planned`` has replicates, targets and routes as first planned; None in ledgers of older versions."""

    planned: Planned | None = None
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True)
class Counts:
    """How many replicates and targets a study has."""

    replicates: int
    targets: int


@dataclass(frozen=True)
class Growth:
    """By what a study grew: its counts as first planned and now, and routes and criteria in the order they were added.

    ``networks_before`` were delivered when it last grew, so that their results could have been seen; ``num_looks`` is
    as in :func:`num_looks`.
    """

    planned: Counts
    now: Counts
    routes: tuple[str, ...]
    criteria: tuple[str, ...]
    networks_before: int
    num_looks: int


def history_of(records: Sequence[Record]) -> History:
    """The history of a study, from the records of its ledger in order of time."""
    extended, opened = (
        [r for r in records if r["kind"] == kind] for kind in (Kind.STUDY_EXTENDED.value, Kind.SESSION_OPENED.value)
    )
    delivered_t = _delivered_t(records) if extended else []
    extensions = tuple(
        Extension(
            float(r["t"]), change["key"], change["old"], change["new"], sum(t < float(r["t"]) for t in delivered_t)
        )
        for r in extended
        for change in r["changes"]
    )
    said = (r.get("planned") for r in opened)
    return History(next((planned for planned in said if isinstance(planned, dict)), None), extensions)


def _delivered_t(records: Sequence[Record]) -> list[float]:
    """When networks were delivered."""
    started, ended = (
        [r for r in records if r["kind"] == kind] for kind in (Kind.ATTEMPT_STARTED.value, Kind.ATTEMPT_ENDED.value)
    )
    evaluations = {r["attempt"] for r in started if r["phase"] == Phase.EVALUATE}
    return [
        float(r["t"])
        for r in ended
        if r["attempt"] in evaluations and r["status"] == Status.OK and "test_top1" in (r["outcome"] or {})
    ]


def num_looks(history: History) -> int:
    """How often replicates were added after networks had been delivered, so that results could have been seen."""
    return len({e.t for e in history.extensions if e.key == "replicates" and e.networks_before})


CHOICES = ("verdict", "parent.declared_cost", "resources.equivalent")
"""Keys of the config that decide what a verdict is about or what it charges, but change no job."""


def choices_after_results(extensions: Sequence[Extension]) -> tuple[Extension, ...]:
    """Changes of such keys when networks had been delivered, so that results could have been seen."""
    return tuple(
        e for e in extensions if e.networks_before and any(f"{e.key}.".startswith(f"{key}.") for key in CHOICES)
    )


def growth_of(history: History, info: StudyFacts) -> Growth | None:
    """By what the study grew beyond its first plan; None if it is as it was planned."""
    planned = history.planned or Planned()
    growth = Growth(
        planned=Counts(
            planned.get("replicates", info.replicates),
            len(planned["targets"]) if "targets" in planned else info.num_targets,
        ),
        now=Counts(info.replicates, info.num_targets),
        routes=tuple(route for route in info.routes if route not in planned.get("routes", info.routes)),
        criteria=tuple(dict.fromkeys(_added_criteria(history))),
        networks_before=max((e.networks_before for e in history.extensions if _grows(e)), default=0),
        num_looks=num_looks(history),
    )
    return growth if growth.now != growth.planned or growth.routes or growth.criteria else None


def _added_criteria(history: History) -> Iterator[str]:
    """Criteria that were not in the first plan, in the order in which they were added."""
    for extension in history.extensions:
        if extension.key.endswith(".criterion"):
            yield from _missing_in(extension.old, extension.new)


def _missing_in(old: object, new: object) -> Iterable[str]:
    return [str(name) for name in new if name not in old] if isinstance(old, list) and isinstance(new, list) else []


def _grows(extension: Extension) -> bool:
    return extension.key in ("replicates", "targets") or extension.key.startswith("routes.")
