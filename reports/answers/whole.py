"""The answer of a whole study: its headline, a sentence per target and contender, and everything as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from accounting.cost.equivalence import rates_sentences
from accounting.words.json_values import Fields
from accounting.words.names import COMPARED, PRUNE, without_method
from reports.answers import no_verdict as one_route
from reports.answers.as_json import report_json
from reports.answers.control_text import control_lines
from reports.answers.find import answers_of
from reports.answers.pays_text import break_even_sentences, declared_sentence, pooled_at
from reports.answers.pooled import pooled_further, pooled_headline
from reports.answers.refusal_text import unjudged_headline, unjudged_short
from reports.answers.short import short_headline
from reports.answers.study import JudgedStudy, judged
from reports.answers.text import overall_sentence, sentence
from reports.answers.values import Answer, Line, Measured, Refused
from reports.compare.values import PooledPays
from reports.compare.verdict import cheaper_route
from reports.data.frames import Frames
from reports.measure.kinds import Alone, alone, controls_beside, missing_routes
from reports.sentences.growth import changes_sentences
from reports.sentences.levels import level_sentences
from reports.sentences.standing import standing_sentences
from reports.statistics import Estimate


class WholeAnswer:
    """What a study says about all its targets, computed once for page, terminal and JSON."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self._study = judged(frames)

    @cached_property
    def answers(self) -> Sequence[Answer]:
        """One answer per target, ascending; targets not measured yet are refused."""
        return answers_of(self._study)

    @cached_property
    def alone(self) -> Alone:
        """What it has without a verdict, if it lacks a route of its pair."""
        return alone(self.frames)

    @cached_property
    def is_refused(self) -> bool:
        """Whether no target has an answer: the study is not judged, or has both routes of its pair but no result yet."""
        return self._study.unjudged is not None or (
            not missing_routes(self.frames.info) and not any(isinstance(a, Measured) for a in self.answers)
        )

    @cached_property
    def headline(self) -> str:
        """The first sentence."""
        if self._study.unjudged is not None:
            return unjudged_headline(self._study.unjudged, len(self.frames.delivered))
        if missing_routes(self.frames.info):
            return one_route.headline(self.alone)
        return overall_sentence(pooled_headline(self._study), self.answers[0].question, self.answers)

    @cached_property
    def short(self) -> str:
        """The headline in at most 25 words."""
        if self._study.unjudged is not None:
            return unjudged_short(self._study.unjudged, len(self.frames.delivered))
        if missing_routes(self.frames.info):
            return one_route.short_headline(self.alone)
        return short_headline(pooled_headline(self._study), self.frames.unit, self.answers)

    @property
    def study(self) -> JudgedStudy:
        """The judged study, for modules that show more of it."""
        return self._study

    @cached_property
    def pooled_pays(self) -> PooledPays | None:
        """The headline's break-evens over all targets; None without a headline or a target that can be compared."""
        if self._study.unjudged is not None or missing_routes(self.frames.info):
            return None
        return self._study.pooled_pays()

    @cached_property
    def pays_lines(self) -> list[Line]:
        """Who pays: the declared cost of the parent, and the headline's break-evens."""
        declared, found = self.frames.info.declared_parent, self.pooled_pays
        said = [] if declared is None else [declared_sentence(declared)]
        said += rates_sentences(self.frames.view.equivalence, self.frames.caveats.moved)
        if found is not None:
            at = pooled_at(found, self.frames.info.dataset)
            said += break_even_sentences(found, self.frames.unit, self._parent_h, at)
        return [Line(text, "pays") for text in said]

    @property
    def _parent_h(self) -> Estimate | None:
        """The parent's cost, from the first target that has it."""
        found = (
            given.pays.parent_h for given in self.answers if isinstance(given, Measured) and given.pays is not None
        )
        return next(found, None)

    @cached_property
    def lines(self) -> list[Line]:
        """Sentences on the ledger if the verdict may not stand, on each target, who pays, further contenders, and others.

        The others are controls, accuracies near chance or the ceiling, and changes of the study.
        """
        frames, question = self.frames, self.answers[0].question
        standing = [Line(text, "refused") for text in standing_sentences(frames.audit.standing)]
        if self._study.unjudged is not None:
            return standing
        by_target = (
            one_route.lines(self.alone) if missing_routes(frames.info) else [_line(given) for given in self.answers]
        )
        further = [
            Line(overall_sentence(other, question), other.challenger)
            for other in pooled_further(self._study)
            if without_method(other.challenger) in {*COMPARED, *frames.info.challengers} - {PRUNE}
        ]
        levels = [Line(text, "level") for text in level_sentences(frames.delivered, frames.num_classes)]
        changed = [Line(text, "changed") for text in changes_sentences(question.growth, question.extensions)]
        controls = control_lines(controls_beside(frames), frames.unit)
        return [*standing, *by_target, *self.pays_lines, *further, *controls, *levels, *changed]

    @property
    def sentences(self) -> list[str]:
        """The headline, then the lines, as a terminal shows them."""
        return [self.headline, *(line.sentence for line in self.lines)]

    def as_json(self) -> Fields:
        """The content of ``report/answer.json``, which ``answer --json`` prints."""
        headline, *lines = self.sentences
        study = self._study
        return report_json(
            self.answers,
            pooled_headline(study),
            pooled_further(study),
            headline,
            lines,
            self.pooled_pays,
            is_judged=study.unjudged is None,
            rehearsal=self.frames.info.rehearsal,
            stands=self.frames.audit.stands,
        )


def _line(given: Answer) -> Line:
    if isinstance(given, Refused):
        return Line(sentence(given), "refused")
    costs = given.headline.headline
    return Line(sentence(given), cheaper_route(costs.verdict, costs.challenger))
