"""What all answers of a study share: its contenders, and their judgement at every target, computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from accounting.cost.at_rates import at_ends
from accounting.cost.models import mixed_hours
from reports.answers.refusals import MixedModels, Rehearsal, Unjudged
from reports.compare.at_ends import with_ends
from reports.compare.contenders import Contender, Contenders
from reports.compare.rule import look_alpha
from reports.compare.steady import steady
from reports.compare.values import PooledPays, StudyVerdicts, WhoPays
from reports.compare.verdict import Asked, judge_asked, judge_study
from reports.compare.who_pays import pooled_pays, who_pays
from reports.data.extensions import num_looks
from reports.data.frames import Frames


@dataclass(frozen=True)
class JudgedStudy:
    """A study that has been read, with its judgement."""

    frames: Frames

    @cached_property
    def contenders(self) -> Contenders:
        """The contenders of the study."""
        frames = self.frames
        return Contenders(frames.view, frames.info, frames.delivered, frames.num_classes)

    @cached_property
    def at_ends(self) -> list[JudgedStudy]:
        """The study at the ends of the ranges of declared equivalences; none if no such model was held."""
        return [JudgedStudy(replace(self.frames, view=view)) for view in at_ends(self.frames.view)]

    @property
    def _everywhere(self) -> list[Contenders]:
        return [each.contenders for each in (self, *self.at_ends)]

    @cached_property
    def verdicts(self) -> StudyVerdicts:
        """Every comparison, corrected for the looks at which the study was extended.

        One whose verdict depends on where in its range a declared equivalence is has no verdict.
        """
        targets = self.frames.info.targets if self.unjudged is None else ()
        return steady(*(judge_study(each, targets, self.alpha) for each in self._everywhere))

    @cached_property
    def unjudged(self) -> Unjudged | None:
        """Why the study is not judged; None if it is."""
        if self.frames.info.rehearsal is not None:
            return Rehearsal(len(self.frames.info.rehearsal))
        hours = mixed_hours(self.frames.view)
        return MixedModels(hours) if hours else None

    @property
    def alpha(self) -> float:
        """The level of the study's claims after the correction for looks."""
        return look_alpha(num_looks(self.frames.history))

    @cached_property
    def _pays(self) -> dict[int, WhoPays | None]:
        """Results of :meth:`who_pays` so far, by target."""
        return {}

    def who_pays(self, target: int) -> WhoPays | None:
        """The parts of each contender's cost at a target, and its break-evens."""
        if target not in self._pays:
            compared = self.verdicts.costs.get(target, {})
            stated, *ends = (who_pays(each, target, compared) for each in self._everywhere)
            self._pays[target] = with_ends(stated, ends)
        return self._pays[target]

    def pooled_pays(self) -> PooledPays | None:
        """The headline's break-evens over all targets."""
        costs = self.verdicts.costs
        stated, *ends = (pooled_pays(each, costs, self.challenger, self.alpha) for each in self._everywhere)
        return with_ends(stated, ends)

    def asked(self, asked: Asked) -> StudyVerdicts:
        """All comparisons under other terms, or at another accuracy."""
        targets = self.frames.info.targets
        return steady(*(judge_asked(each, targets, asked, self.alpha) for each in self._everywhere))

    @property
    def challenger(self) -> str:
        """The label of the headline's challenger."""
        return self.contenders.pair[1]

    def contender(self, label: str, target: int) -> Contender | None:
        """The contender with that label; None if it does not compete at the target."""
        return next((one for one in self.contenders.at(target) if one.label == label), None)

    def paired(self, label: str, target: int) -> list[int]:
        """Replicates in which both the contender and the headline's pruning delivered a network."""
        sides = [self.contender(name, target) for name in (label, self.contenders.pair[0])]
        delivered = [set(self.contenders.with_network(one, target)) for one in sides if one is not None]
        return sorted(set.intersection(*delivered)) if len(delivered) == 2 and self.unjudged is None else []

    def measured_targets(self) -> tuple[int, ...]:
        """Targets at which both contenders of the headline delivered a network in some replicate."""
        return tuple(target for target in self.frames.info.targets if self.paired(self.challenger, target))


@lru_cache(maxsize=1)
def judged(frames: Frames) -> JudgedStudy:
    """The judged study of these frames; the same object for all callers until another study is read."""
    return JudgedStudy(frames)
