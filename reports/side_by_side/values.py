"""Several studies beside each other, as values: what each is, in what they differ, and what can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reports.statistics import Estimate


class Agreement(StrEnum):
    """Whether the studies agree in something."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """Some study does not say."""


@dataclass(frozen=True)
class Aspect:
    """Something that a study is, by study in the order given; ``key`` is its name in JSON, ``title`` for people."""

    key: str
    title: str
    values: tuple[str, ...]
    agreement: Agreement


@dataclass(frozen=True)
class Finding:
    """Whether something of the studies can be compared, and why, or why not; ``can`` is None where it is not known."""

    subject: str
    can: bool | None
    why: str


@dataclass(frozen=True)
class TargetRow:
    """A study's headline at one target; costs and ratio are in its own ``unit``, ratio is challenger / prune.

    ``share`` is the target's part (0-1) of the parent's MACs; None where the parent's are not known. ``refused``: why there
    is no answer.
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
    """One study: its ``name`` is as shown, unique among those compared; ``folder`` as it was given.

    ``total_h`` is all that its ledger holds in its ``unit``; ``ratio`` its headline's, over all targets, at level ``alpha``.
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
    """How one study's cost ratio compares with the first one's: the factor, with a 95 % interval (Welch, on logarithms).

    ``differs_in`` are the aspects in which the two differ: where there are several, none of them is shown to be the cause.
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
