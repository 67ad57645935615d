"""The values of a comparison of studies: what each study is, how they differ, and what can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reports.statistics import Estimate


class Agreement(StrEnum):
    """Whether the studies agree in one aspect."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """At least one study does not say."""


@dataclass(frozen=True)
class Aspect:
    """One aspect of all studies, in the order given; ``key`` is its name in JSON, ``title`` its name for people."""

    key: str
    title: str
    values: tuple[str, ...]
    agreement: Agreement


class Subject(StrEnum):
    """What may be compared between studies."""

    HOURS = "hours"
    QUALITIES = "qualities"
    COST_RATIOS = "cost_ratios"
    VERDICTS = "verdicts"
    TARGETS = "targets"


class Reason(StrEnum):
    """Why something can be compared between studies, or why not; a finding's ``aspects`` are those it rests on."""

    OTHER_UNITS = "other_units"
    OTHER_DEVICES = "other_devices"
    DEVICES_UNKNOWN = "devices_unknown"
    OTHER_COST_RULES = "other_cost_rules"
    SAME_HOURS = "same_hours"
    """Aspects: the unit, the devices."""
    OTHER_DATA = "other_data"
    DATA_UNKNOWN = "data_unknown"
    SAME_DATA = "same_data"
    NO_RATIO = "no_ratio"
    """``studies`` have no cost ratio."""
    OTHER_PAIRS = "other_pairs"
    TRAINED_AGAIN = "trained_again"
    """They agree in everything, some in their seed too, so these are the same networks."""
    REPEATS = "repeats"
    """They agree in everything on record but the seed."""
    EACH_WITHIN_ONE = "each_within_one"
    """Each ratio is within one study; aspects: those in which they do not agree."""
    OF_ONE_STUDY = "of_one_study"
    """Each verdict is of one study, and all are drawn by the rules of this version."""
    COMMON_TARGETS = "common_targets"
    """All have ``targets``."""
    NO_COMMON_TARGET = "no_common_target"


@dataclass(frozen=True)
class Finding:
    """Whether something can be compared between the studies, and why or why not; ``can`` is None if this is unknown.

    :class:`Reason` says what ``aspects``, ``studies`` (names) and ``targets`` (MACs) are.
    """

    subject: Subject
    can: bool | None
    reason: Reason
    aspects: tuple[Aspect, ...] = ()
    studies: tuple[str, ...] = ()
    targets: tuple[int, ...] = ()


@dataclass(frozen=True)
class TargetRow:
    """A study's headline at one target; costs are in the study's own ``unit``, and the ratio is challenger / prune.

    ``share`` is the target as a share (0-1) of the parent's MACs, or None if those are unknown. ``refused`` says why
    there is no answer.
    """

    study: str
    target: int
    share: float | None
    level: float | None
    unit: str
    costs: dict[str, Estimate]
    test_top1: dict[str, Estimate]
    cost_ratio: Estimate
    alpha: float
    verdict: str
    verdict_text: str
    cheapest: str | None
    refused: str | None = None


@dataclass(frozen=True)
class Compared:
    """One study: ``name`` is shown and unique among the studies compared, ``folder`` is as given.

    ``total_h`` is the ledger's total in its ``unit``; ``ratio`` is the headline's over all targets, at level ``alpha``.
    """

    name: str
    folder: str
    headline: str
    unit: str
    total_h: float
    challenger: str
    ratio: Estimate
    alpha: float
    verdict: str
    rows: tuple[TargetRow, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class RatioApart:
    """How a study's cost ratio compares with the first one's: the factor, with a 95 % interval (Welch, on logarithms).

    ``differs_in`` lists the aspects in which the two differ; if there are several, none of them is shown to be the
    cause.
    """

    study: str
    first: str
    factor: Estimate
    differs_in: tuple[str, ...]


@dataclass(frozen=True)
class SideBySide:
    """The whole comparison."""

    studies: tuple[Compared, ...]
    aspects: tuple[Aspect, ...]
    findings: tuple[Finding, ...]
    ratios: tuple[RatioApart, ...]
