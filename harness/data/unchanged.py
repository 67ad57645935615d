"""Whether data is still what a study or a session began with: its fingerprint and counts, then and now.

A picture more or less shifts which of all are held out, so networks before and after it would be selected on others.
"""

from __future__ import annotations

from collections.abc import Mapping

from accounting.study.facts import DataFacts
from accounting.words.plain_text import plain
from harness.data.base import Dataset
from harness.errors import InputError, one_line

COUNTS = ("num_train", "num_val", "num_test", "num_classes")
DIGITS = 12
"""Digits of a digest that errors show."""


class DataChanged(RuntimeError):
    """The data is other data than when the session began; nothing more can be done with it."""


def data_facts(dataset: Dataset) -> DataFacts:
    """Fingerprint, counts and notes of data that is there."""
    fingerprint = dataset.fingerprint()  # first: it opens the data, after which its facts are counted
    info = dataset.info()
    return {
        "fingerprint": fingerprint,
        "num_train": info.num_train,
        "num_val": info.num_val,
        "num_test": info.num_test,
        "num_classes": info.num_classes,
        "notes": [plain(note) for note in getattr(info, "notes", ())],
    }


def data_changes(then: DataFacts, now: DataFacts) -> str | None:
    """What differs, as one clause; None where nothing does. Counts that were not noted then are not compared."""
    before: Mapping[str, object] = then
    after: Mapping[str, object] = now
    differ = [
        f"{name} {before[name]} then, {after[name]} now"
        for name in COUNTS
        if name in before and before[name] != after[name]
    ]
    if then.get("fingerprint") != now["fingerprint"]:
        differ.insert(0, then_and_now("fingerprint", str(then.get("fingerprint")), now["fingerprint"]))
    return "; ".join(differ) or None


def then_and_now(what: str, then: str, now: str) -> str:
    """Two digests, cut."""
    return f"{what} {then[:DIGITS]} then, {now[:DIGITS]} now"


def check_unchanged(dataset: Dataset, then: DataFacts | None) -> None:
    """Raise :class:`DataChanged` where the data is there and is not what was noted ``then`` (None: nothing was)."""
    if then is None or dataset.fingerprint() == then.get("fingerprint"):
        return
    try:
        differ = data_changes(then, data_facts(dataset))
    except InputError as error:  # no data to learn from any more
        differ = one_line(error)
    raise DataChanged(
        f"the data changed while the study ran ({differ}); restore it and run the same command again, or start another "
        "study with --out"
    )
