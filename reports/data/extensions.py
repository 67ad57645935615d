"""How a study grew: its first plan, and each extension with the number of networks delivered by then.

Adding replicates after a look at the results is optional stopping. Verdicts correct for it, using :func:`num_looks`,
and every report says where it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from accounting.ledger.records import Kind, Phase, Planned, Record, Status
from accounting.study.facts import StudyFacts
from accounting.words.json_values import Fields, Json
from accounting.words.names import label_text


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


def history_of(records: Sequence[Record]) -> History:
    """The history of a study, from the records of its ledger in order of time."""
    started, ended, extended = (
        [r for r in records if r["kind"] == kind]
        for kind in (Kind.ATTEMPT_STARTED.value, Kind.ATTEMPT_ENDED.value, Kind.STUDY_EXTENDED.value)
    )
    evaluations = {r["attempt"] for r in started if r["phase"] == Phase.EVALUATE}
    delivered_t = [
        float(r["t"])
        for r in ended
        if r["attempt"] in evaluations and r["status"] == Status.OK and "test_top1" in (r["outcome"] or {})
    ]
    extensions = tuple(
        Extension(
            float(r["t"]), change["key"], change["old"], change["new"], sum(t < float(r["t"]) for t in delivered_t)
        )
        for r in extended
        for change in r["changes"]
    )
    said = (r.get("planned") for r in records if r["kind"] == Kind.SESSION_OPENED)
    return History(next((planned for planned in said if isinstance(planned, dict)), None), extensions)


def num_looks(history: History) -> int:
    """How often replicates were added after networks had been delivered, so that results could have been seen."""
    return len({e.t for e in history.extensions if e.key == "replicates" and e.networks_before})


def extension_sentence(history: History, info: StudyFacts) -> str | None:
    """What grew and whether results had been seen by then; None if the study is as it was planned."""
    planned = history.planned or Planned()
    num_targets = len(planned["targets"]) if "targets" in planned else info.num_targets
    before, after = [], []
    for then, now, word in (
        (planned.get("replicates", info.replicates), info.replicates, "replicate"),
        (num_targets, info.num_targets, "target"),
    ):
        if then != now:
            before.append(_count(then, word))
            after.append(_count(now, word))
    added = _added(history, info)
    if not after and not added:
        return None
    seen = max((e.networks_before for e in history.extensions if _grows(e)), default=0)
    when = f"after results were seen ({_count(seen, 'network')} delivered)" if seen else "before any result"
    if not after:
        return f"Added to the plan {when}: {', '.join(added)}."
    with_added = f"; added: {', '.join(added)}" if added else ""
    caveat = "; intervals of costs are corrected for looking in between" if num_looks(history) else ""
    return f"Planned with {' and '.join(before)}; extended to {' and '.join(after)} {when}{with_added}{caveat}."


def _added(history: History, info: StudyFacts) -> list[str]:
    """Routes and criteria that were not in the first plan, in the order in which they were added."""
    planned = (history.planned or {}).get("routes", info.routes)
    routes = [f"route {label_text(route)}" for route in info.routes if route not in planned]
    criteria = [
        f"criterion {name}"
        for extension in history.extensions
        if extension.key.endswith(".criterion")
        for name in _missing_in(extension.old, extension.new)
    ]
    return list(dict.fromkeys([*routes, *criteria]))


def _missing_in(old: object, new: object) -> Iterable[str]:
    return [str(name) for name in new if name not in old] if isinstance(old, list) and isinstance(new, list) else []


def _grows(extension: Extension) -> bool:
    return extension.key in ("replicates", "targets") or extension.key.startswith("routes.")


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
