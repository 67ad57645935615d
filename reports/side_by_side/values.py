"""The values of a comparison of studies: what each study is, how they differ, and what can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from accounting.cost.shares import HEADLINE_POLICY
from accounting.words.names import PRUNE
from reports.answers.values import Answer, Measured
from reports.answers.whole import WholeAnswer
from reports.compare.values import CostComparison, PooledCosts
from reports.page.compared import Item
from reports.sentences.caveats import caveat_sentences
from reports.sentences.standing import standing_sentences
from reports.statistics import NOTHING, Estimate


class Agreement(StrEnum):
    """Whether the studies agree in one aspect."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    """At least one study does not say."""


class OwnKey(StrEnum):
    """Aspects besides the items that a study's own page says of its comparison; the value is the name in JSON."""

    CLASSES = "classes"
    DECLARED_PARENT = "declared_parent"
    UNIT = "unit"
    DEVICES = "devices"
    PAIR = "pair"
    MARGIN = "margin"
    COST_RULES = "cost_rules"
    SETTINGS = "settings"


Key: TypeAlias = Item | OwnKey


@dataclass(frozen=True)
class Aspect:
    """One aspect of all studies; ``values`` is what is said of each, in the order given, as on a study's own page."""

    key: Key
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
    MIXED_MODELS = "mixed_models"
    """``studies`` held GPUs of several models without a declared rate."""
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
    """A study's headline at one target; costs are in the study's own unit, and the ratio is challenger / prune.

    ``share`` is the target as a share (0-1) of the parent's MACs, or None if those are unknown.
    """

    study: str
    share: float | None
    given: Answer

    @property
    def comparison(self) -> CostComparison | None:
        """The comparison of the pair; None without an answer."""
        return self.given.headline.headline if isinstance(self.given, Measured) else None

    @property
    def n(self) -> int:
        """The number of replicates in which both contenders of the pair are done."""
        return self.given.headline.n if isinstance(self.given, Measured) else 0

    @property
    def costs(self) -> dict[str, Estimate]:
        """The costs of the pair's contenders to the common quality."""
        found = self.comparison
        return {} if found is None else {label: found.to_quality[label] for label in (PRUNE, found.challenger)}

    @property
    def cost_ratio(self) -> Estimate:
        """The cost ratio, if the two can be compared."""
        found = self.comparison
        return NOTHING if found is None or found.guarded is not None else found.cost_ratio

    @property
    def test_top1(self) -> dict[str, Estimate]:
        """The test accuracies of the pair's delivered networks."""
        given = self.given
        if not isinstance(given, Measured):
            return {}
        return {label: given.accuracy[label].test_top1 for label in self.costs if label in given.accuracy}

    @property
    def cheapest(self) -> str | None:
        """The label of the cheapest contender of all."""
        best = self.given.cheapest.get(HEADLINE_POLICY) if isinstance(self.given, Measured) else None
        return None if best is None else best.label


@dataclass(frozen=True)
class Compared:
    """One study: ``name`` is shown and unique among the studies compared, ``folder`` is as given.

    ``total_h`` is the ledger's total in the study's unit.
    """

    name: str
    folder: str
    answer: WholeAnswer
    total_h: float
    rows: tuple[TargetRow, ...]

    @property
    def unit(self) -> str:
        """The unit of its costs."""
        return self.answer.frames.unit

    @property
    def challenger(self) -> str:
        """The label of the headline's challenger."""
        return self.answer.study.challenger

    @property
    def pooled(self) -> PooledCosts | None:
        """The headline's comparison over all targets."""
        return self.answer.study.verdicts.pooled.get(self.challenger, {}).get(HEADLINE_POLICY)

    @property
    def ratio(self) -> Estimate:
        """The headline's cost ratio over all targets, if the two can be compared."""
        return NOTHING if self.pooled is None or self.pooled.guarded is not None else self.pooled.cost_ratio

    @property
    def warnings(self) -> list[str]:
        """What a reader should know first, and whether the verdict stands by the audit of the ledger."""
        frames = self.answer.frames
        return [*standing_sentences(frames.audit.standing), *caveat_sentences(frames.caveats)]


@dataclass(frozen=True)
class RatioApart:
    """How a study's cost ratio compares with the first one's: the factor, with a 95 % interval (Welch, on logarithms).

    ``differs_in`` lists the aspects in which the two differ; if there are several, none of them is shown to be the
    cause.
    """

    study: str
    first: str
    factor: Estimate
    differs_in: tuple[Key, ...]


@dataclass(frozen=True)
class SideBySide:
    """The whole comparison."""

    studies: tuple[Compared, ...]
    aspects: tuple[Aspect, ...]
    findings: tuple[Finding, ...]
    ratios: tuple[RatioApart, ...]
