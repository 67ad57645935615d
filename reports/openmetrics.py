"""The state of a study as OpenMetrics text for whatever scrapes it (https://openmetrics.io, version 1.0).

One file's worth of text, read from the ledger each time; ``node_exporter``'s textfile collector or any HTTP server that runs
the command can pass it on. Device-hours are given in device-seconds, the base unit of that format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accounting.ledger.driver_lock import Life
from accounting.words.quantities import HOUR_S
from accounting.words.task import task
from reports.sentences.caveats import caveat_sentences
from reports.status.values import StudyStatus

PREFIX = "prune_or_search"


@dataclass(frozen=True)
class Family:
    """One metric: its name without the prefix, its type, what it says, and its samples as (labels, value)."""

    name: str
    kind: str
    says: str
    samples: Sequence[tuple[dict[str, str], float]]


def openmetrics(state: StudyStatus) -> str:
    """The text, which ends with ``# EOF``."""
    lines = [line for family in _families(state) if family.samples for line in _lines(family, state.study)]
    return "\n".join([*lines, "# EOF"])


def _families(state: StudyStatus) -> Iterator[Family]:
    kind = state.unit.device_kind
    yield Family("study", "info", "The study and the kind of device that its costs count", [({"device_kind": kind}, 1)])
    jobs = [
        ({"route": row.route, "phase": row.phase, "state": name}, float(count))
        for row in state.jobs
        for name, count in row.by_state.items()
    ]
    yield Family("jobs", "gauge", "Jobs that were begun, by what became of them", jobs)
    spent = [(_of(row.route, row.replicate), row.spent_h * HOUR_S) for row in state.spend]
    yield Family(
        "spent_device_seconds", "counter", "Device-seconds that a route was allocated, exports left out", spent
    )
    budget = [(_of(row.route, row.replicate), row.budget_h * HOUR_S) for row in state.spend if row.budget_h is not None]
    yield Family("budget_device_seconds", "gauge", "Device-seconds that a route may spend, where it is capped", budget)
    apart = [({"use": name}, hours * HOUR_S) for name, hours in state.uncharged_h.items()]
    yield Family("uncharged_device_seconds", "counter", "Device-seconds that no route is charged with", apart)
    allocated = [({"device_kind": str(unit.device_kind)}, hours * HOUR_S) for unit, hours in state.allocated_h.items()]
    yield Family("allocated_device_seconds", "counter", "All device-seconds on record", allocated)
    best = [({"target_macs": str(row.target), "route": row.route}, row.val_top1) for row in state.best]
    yield Family("best_val_top1_ratio", "gauge", f"Best validation {task().quality} so far within a target", best)
    lives = [({f"{PREFIX}_driver": str(life)}, float(state.driver.life == life)) for life in Life]
    yield Family("driver", "stateset", "Whether the process that runs the study lives", lives)
    num_caveats = len(caveat_sentences(state.caveats))
    yield Family("warnings", "gauge", "What a reader of the ledger should know, by number", [({}, num_caveats)])


def _of(route: str, replicate: int) -> dict[str, str]:
    return {"route": route, "replicate": str(replicate)}


def _lines(family: Family, study: str) -> Iterator[str]:
    name = f"{PREFIX}_{family.name}"
    yield f"# TYPE {name} {family.kind}"
    if name.endswith("_seconds"):
        yield f"# UNIT {name} seconds"
    if name.endswith("_ratio"):
        yield f"# UNIT {name} ratio"
    yield f"# HELP {name} {family.says}."
    suffix = {"counter": "_total", "info": "_info"}.get(family.kind, "")
    for labels, value in family.samples:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in {"study": study, **labels}.items())
        yield f"{name}{suffix}{{{shown}}} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
