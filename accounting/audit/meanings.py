"""What each finding means for a reader of the results: its effect on costs and accuracies, and on the verdict.

The verdict *stands* if everything spent and measured is counted exactly once. It *may shift* if costs are known only to
a stated bound, or if something may be missing without a trace. It *does not stand* if costs or accuracies are known to
be missing, changed or counted wrongly: the printed verdict is then about another study than the one that was run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from accounting.ledger.findings import Finding
from accounting.words.task import task


class Stands(StrEnum):
    """Whether the verdict stands, from best to worst."""

    YES = "stands"
    MAY_SHIFT = "may shift"
    NO = "does not stand"


@dataclass(frozen=True)
class Meaning:
    """What a finding means, as one sentence without its full stop."""

    stands: Stands
    text: str
    """The sentence, with placeholders such as ``{a_quality}`` for the words of a task."""

    @property
    def said(self) -> str:
        """The sentence in the words of the study's task."""
        return task().fill(self.text)


def _yes(text: str) -> Meaning:
    return Meaning(Stands.YES, text)


def _shifts(text: str) -> Meaning:
    return Meaning(Stands.MAY_SHIFT, text)


def _no(text: str) -> Meaning:
    return Meaning(Stands.NO, text)


_COSTS_GONE = "its costs and outcomes are missing, so some route looks cheaper than it was"
_DOUBLE = "more device time was counted than there was, so some route looks dearer than it was"

MEANINGS: dict[str, Meaning] = {
    # The files.
    "chain_broken": _no("this line was changed, or lines around it are gone: costs may be wrong"),
    "garbled": _no("the line cannot be read and is not counted: its cost or outcome is missing"),
    "segment_missing": _no(_COSTS_GONE),
    "segment_cut": _no(_COSTS_GONE),
    "segment_replaced": _no(_COSTS_GONE),
    "driver_segment_missing": _no("what was held how long is not known for that session: its costs are too low"),
    "segment_changed": _no("costs or outcomes were changed after they were measured"),
    "segment_unregistered": _no("attempts are counted that may not be this study's"),
    "studies_mixed": _no("the costs of several studies are counted as those of one"),
    "segment_duplicated": _yes("the copy is left out, so everything is counted once"),
    "segment_foreign": _yes("it is left out, so only this study is counted"),
    "compacted_damaged": _yes("the lines of which it is a copy are read instead"),
    "segment_renamed": _yes("its content is whole and counted once"),
    "index_missing": _shifts("what is there is counted; a missing segment would not be noticed"),
    "index_damaged": _shifts("what is there is counted; a missing segment would not be noticed"),
    "index_rebuilt": _shifts("what is there is counted; a segment lost before would not be noticed"),
    "index_cut": _shifts("what is there is counted; a missing segment would not be noticed"),
    # Their content.
    "attempt_recorded_twice": _no("two records tell of one attempt; the first counts, and which is right is not known"),
    "recorded_twice": _no(
        "two records tell of one beginning or end; the first counts, and which is right is not known"
    ),
    "holds_nothing": _no("it was paid for and costs nothing here: its route looks cheaper than it was"),
    "never_started": _no("something ran whose beginning is not on record: its cost is missing"),
    "split_does_not_add_up": _no("the parts of a cost do not add up to it"),
    "overlaps": _no("two attempts held one allocation at once, by the record: costs go to the wrong one"),
    "outside_allocation": _no("an attempt worked when its allocation was not held: its cost is too low"),
    "unknown_device": _no("a device was held that the session did not have: capacity and costs contradict each other"),
    "outside_session": _no("devices were held outside the session: its times are wrong"),
    "job_without_end": _no("a study that was done has a job that was not: its outcome is missing"),
    "input_without_attempt": _no("a network was built on one that nothing paid for"),
    "input_without_outcome": _no("a network was built on one that was never finished: records of it are missing"),
    "clock_backwards": _no("times of one process are out of order, so durations, which are costs, are wrong"),
    "over_allocated": _no(_DOUBLE),
    "imbalance": _no("what was held and what idled is not what there was: time is missing or counted twice"),
    "models_mixed": _no("hours of GPUs of several models were added up, as if an hour of each were the same cost"),
    "accuracy_impossible": _no("{a_quality} is not a share between 0 and 1: what was measured is wrong"),
    "epoch_impossible": _no("there is a record of an epoch that the training does not have: its curve is wrong"),
    "time_impossible": _no("durations, which are costs, are wrong"),
    "number_impossible": _no("what it counts cannot be: costs or results go to the wrong place"),
    "not_of_the_study": _no("this ledger or this study.yaml is another study's, or costs go to the wrong place"),
    "job_differs": _no("attempts at one job name different routes, targets or replicates: costs go to the wrong one"),
    "work_outside_attempt": _no("an attempt worked before it began or after it ended, by the record"),
    "allocation_never_opened": _shifts("it is not known since when it was held: that cost is missing"),
    "allocation_never_closed": _shifts("it is not known until when it was held: some of that cost may be missing"),
    "no_allocation_record": _shifts("what was held before the attempt began is not in its cost"),
    "devices_differ": _shifts("the attempt says otherwise; what the allocation held counts"),
    "amounts_differ": _shifts("what the attempt says that it held counts, and what was held may be otherwise"),
    "uncertain": _shifts(
        "up to this much more may have been held unseen: a route's whole cost may be too low by its share"
    ),
    "session_not_opened": _shifts("what the session had is not known, so its balance cannot be checked"),
    "little_uncertain": _yes(
        "this much more may have been held unseen, which is at most 1 % of what any route held in all"
    ),
    "unattributed": _yes("it is in the totals, and charged to no route"),
    "two_outcomes": _yes("the first outcome counts, and every attempt costs"),
    "after_outcome": _yes("the first outcome counts, and every attempt costs"),
    "driver_work_impossible": _yes("work of the driver holds no device, and is part of no cost"),
    "session_not_closed": _yes("what is on record is counted; what runs is provisional"),
    "older_rules": _yes("costs are counted by the rules of that time, as said here"),
}


@dataclass(frozen=True)
class Standing:
    """Whether the verdict stands, and the findings that decide it; none if it does."""

    stands: Stands = Stands.YES
    findings: tuple[Finding, ...] = ()


STANDING = Standing()
"""The verdict stands."""


def standing_of(findings: Iterable[Finding]) -> Standing:
    """Whether the verdict stands, given all of these findings, and those of them that say the worst."""
    order, found = list(Stands), tuple(findings)
    worst = max((MEANINGS[finding.code].stands for finding in found), key=order.index, default=Stands.YES)
    decisive = () if worst is Stands.YES else tuple(f for f in found if MEANINGS[f.code].stands is worst)
    return Standing(worst, decisive)
