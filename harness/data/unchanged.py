"""Checks that data is unchanged since a study or session began, by its fingerprint and counts.

One image more or less changes which images are held out, so networks made before and after would be selected on
different ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from accounting.study.facts import DataFacts
from accounting.words.plain_text import plain
from harness.data.base import Dataset
from harness.errors import InputError, one_line

COUNTS = ("num_train", "num_val", "num_test", "num_classes")
DIGITS = 12
"""Number of a digest's digits that errors show."""


class DataChanged(RuntimeError):
    """The data is different from when the session began; the session cannot continue with it."""


def data_facts(dataset: Dataset) -> DataFacts:
    """Fingerprint, counts and notes of the data, which must be there."""
    fingerprint = dataset.fingerprint()  # first, since it opens the data so that its facts are counted
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
    """What differs, as one clause; None if nothing does. Counts that were not noted then are not compared."""
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
    """Both digests, shortened, in words."""
    return f"{what} {then[:DIGITS]} then, {now[:DIGITS]} now"


def check_unchanged(dataset: Dataset, then: DataFacts | None) -> None:
    """Check that the data is what was noted ``then``; if that is None, nothing was noted and nothing is checked.

    Raises:
        DataChanged: it is different data.

    """
    if then is None or dataset.fingerprint() == then.get("fingerprint"):
        return
    try:
        differ = data_changes(then, data_facts(dataset))
    except InputError as error:  # the data can no longer be trained on
        differ = one_line(error)
    raise DataChanged(
        f"the data changed while the study ran ({differ}); restore it and run the same command again, or start another "
        "study with --out"
    )
