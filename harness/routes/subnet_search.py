"""Search on inherited weights: sub-networks of the trained parent are scored without training, and the best is fine-tuned.

A candidate consists of a width for each group of the parent's channels and a choice of the residual and squeeze-excite
blocks that stay. Its score is the validation accuracy with the parent's weights after batch norm is recalibrated (EagleEye,
arXiv 2007.02491; FastNAS and Puzzletron in NVIDIA's Model Optimizer, the latter arXiv 2411.19146). Strategy, predictor and
evolution are those of any search (:mod:`nas_baseline.strategies`). The scores serve all targets; a target added later gets
candidates of its own.

For each target, the strategy's finalists and the network that keeps the same share of every group are widened to within 1 %
below the target and scored again on the other half of the validation split, so the images that decide have not steered the
search. The best of them is fine-tuned and delivered. The parent is the one that the prune route trains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from accounting.ledger.parts import Member, macs_of
from accounting.ledger.records import Phase
from accounting.ledger.specs import HalfName
from accounting.study.yaml12 import Place
from accounting.words.extras import install_extra
from accounting.words.names import PRUNE, Role, RouteWords
from harness.config.begun import Begun
from harness.config.blocks import StrategyConfig
from harness.config.caps import Caps
from harness.config.recipe import Recipe, RecipeOverride
from harness.config.route_section import Found, PhaseRecipe, RouteSection, useless
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.start import InheritedFrom, WeightsOf
from harness.jobs.work import Score, Train
from harness.routes.base import Queue, View, evaluation, pretrain_id
from harness.routes.chooser import Chooser
from nas_baseline.proposing.proposals import Proposal
from nas_baseline.spaces.subnets import SubnetSpace, WidthRule
from nas_baseline.strategies import list_strategies, predicts

if TYPE_CHECKING:
    from harness.config.study import StudyConfig

WORDS = RouteWords(
    Role.CHALLENGER, "search on inherited weights", "#E69F00", "d", rank=8, phrase="the search on inherited weights",
    summary="Search among sub-networks of the trained parent, scored with its weights.",
)  # fmt: skip
DEFAULT = StrategyConfig(name="predictor_evolution", num_trials=128, options={"first_batch": 32, "batch": 16})
"""The default ``strategy``. Its batches are larger than for candidates that are trained, since a trial is only a score."""
KINDS = {"residual_blocks": "residual", "se_blocks": "se"}


class Config(RouteSection):
    """Search among sub-networks of the trained parent; needs the prune route, whose parent it takes."""

    strategy: StrategyConfig = DEFAULT
    """How candidates are chosen; ``num_trials`` counts scored ones."""
    width_steps: int = Field(8, ge=2, le=64)
    """Number of widths that a group of channels may have, in equal steps up to the parent's."""
    round_to: int = Field(1, ge=1, le=1024)
    """Widths are multiples of this, unless they are the parent's own."""
    channel_floor: float = Field(0.1, ge=0, lt=1)
    """Least share of its channels that every group keeps."""
    residual_blocks: bool = True
    """Whether whole residual blocks may be left out."""
    se_blocks: bool = True
    """Whether squeeze-excite blocks may be left out."""
    num_predicted: int = Field(4, ge=0, le=1000)
    """Networks per target that the predictor ranks highest and that are scored on the second half of validation."""
    num_seen: int = Field(4, ge=0, le=1000)
    """The same for the best of the scored candidates."""
    scored_per_job: int = Field(16, ge=1, le=1_000_000)
    """Candidates that one job scores."""
    finetune: RecipeOverride = RecipeOverride()
    """Training of each target's winner, from the weights that it inherits."""

    LISTENS_TO: ClassVar[tuple[str, ...]] = (PRUNE,)
    ALONE: ClassVar[bool] = False
    KEEPS_TARGETS: ClassVar[bool] = True

    @field_validator("strategy", mode="before")
    @classmethod
    def _larger_batches(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        if value.get("name", DEFAULT.name) != DEFAULT.name:
            return {"num_trials": DEFAULT.num_trials, **value}
        options = value.get("options", {})
        return {
            **DEFAULT.model_dump(),
            **value,
            "options": {**DEFAULT.options, **options} if isinstance(options, dict) else options,
        }

    @model_validator(mode="after")
    def _some_finalist(self) -> Config:
        if self.num_predicted + self.num_seen == 0:
            raise ValueError("num_predicted and num_seen are both 0: nothing would be chosen")
        return self

    def planned(self) -> Config:
        """See :class:`RouteSection`; a simpler strategy proposes as many candidates at a time, and as many finalists."""
        if not self._is_known:
            return self
        predicted = self.num_predicted if predicts(self.strategy.name) else 0
        finalists = {"num_predicted": 0, "num_seen": predicted + self.num_seen}
        return self.model_copy(update={"strategy": self.strategy.planned(), **finalists})

    def rehearsed(self, caps: Caps, base: Recipe) -> Self:
        """See :class:`RouteSection`."""
        values = {
            "strategy": self.strategy.with_trials(caps.scored),
            "num_predicted": min(self.num_predicted, 1),
            "num_seen": min(self.num_seen, 1),
            "scored_per_job": min(self.scored_per_job, caps.scored // 2),
        }
        return super().rehearsed(caps, base).with_values(values)

    def problems(self, study: StudyConfig, route: str) -> Iterator[str]:
        """See :class:`RouteSection`."""
        if PRUNE not in study.routes.names:
            yield f"routes.{route} searches the prune route's parent; add prune or leave it out"
        if find_spec("torch_pruning") is None:
            yield f"routes.{route} needs Torch-Pruning; {install_extra('structured')}"
        if self._is_known and self.num_seen == 0 and not predicts(self.strategy.name):
            yield f"routes.{route}.num_seen is 0, and {self.strategy.name} predicts nothing"

    def without_effect(self, study: StudyConfig, place: Place) -> Iterator[Found]:
        """See :class:`RouteSection`."""
        name, is_given = self.strategy.name, "num_predicted" in self.model_fields_set
        if self._is_known and not predicts(name) and is_given and self.num_predicted > 0:
            yield useless((*place, "num_predicted"), f"{name} predicts nothing; set num_seen")

    def phases(self, study: StudyConfig, place: Place) -> Iterator[PhaseRecipe]:
        """See :class:`RouteSection`."""
        yield PhaseRecipe.of(study, (*place, "finetune"), self.finetune)

    def parent_recipes(self) -> Iterator[tuple[str, RecipeOverride]]:
        """See :class:`RouteSection`."""
        yield "finetune", self.finetune

    def is_bound(self, key: str, old: object, begun: Begun) -> bool:
        """See :class:`RouteSection`; the training of winners may change until the first has begun."""
        return key.partition(".")[0] != "finetune" or begun.phase(Phase.FINETUNE, Phase.TUNE)

    @property
    def _is_known(self) -> bool:
        return self.strategy.name in list_strategies()


class Route:
    """One replicate. ``search`` (scores) × num_trials → per target ``search`` (finalists) → ``finetune`` → ``evaluate``."""

    name = "subnet_search"

    def __init__(self, view: View, replicate: int, config: Config) -> None:
        self.replicate = replicate
        self._view, self._config, self._queue = view, config, Queue()
        searched = view.search_targets(self.name)
        if view.info.num_val == 1:
            raise ValueError(
                f"routes.{self.name} scores on one half of the validation images and chooses on the other; there is 1, give "
                "dataset.val_fraction a larger share"
            )
        self._space = self._space_of_parent()
        self._even = {target: self._evenly(target) for target in view.config.targets}
        self._chooser = Chooser(view, self.name, replicate, config, self._space, searched.first, view.config.targets)
        self._strategy = self._chooser.new()
        self._trials: dict[str, list[Proposal]] = {}
        self._finalists: dict[str, list[Member]] = {}
        self._texts: dict[str, str] = {}
        self._unsearched = [target for target in searched.first if target in view.config.targets]
        self._added = [target for target in searched.added if target in view.config.targets]
        self._share = math.ceil(config.strategy.num_trials / (len(searched.first) + 1))
        """How many candidates a target gets if it is added later."""
        self._current: tuple[int, int] | None = None
        """The added target that is being searched for, and its first trial; None in stage 1."""
        self._parent: Job | None = None
        self._is_searching = True

    def strategy_problem(self) -> str | None:
        """See :class:`harness.jobs.job.SearchingRoute`."""
        return self._chooser.problem()

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`; may take seconds when the predictor is fitted or evolution runs."""
        parent = self._parent
        while parent is not None and self._is_searching and not self._queue.ready:
            if proposals := self._proposals():
                self._queue.put(self._scores(proposals, parent))
            elif self._queue.awaited:
                break
            elif self._unsearched:
                self._queue.put(self._final_scores(self._unsearched.pop(0), parent))
            elif self._added:
                self._search_further(self._added.pop(0))
            else:
                self._is_searching = False
        return self._queue.next(more=self._is_searching)

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`; listens to the prune route, whose parent it uses."""
        if job.id == pretrain_id(self.replicate) and self._parent is None:
            self._is_searching = outcome.ok
            self._parent = job if outcome.ok else None
        if not self._queue.record(job, outcome):
            return
        if job.name in self._trials:
            for proposal, score in zip(self._trials[job.name], _scores_in(outcome, job), strict=True):
                self._strategy.tell(proposal.trial, score)
        elif job.name in self._finalists and outcome.ok and self._parent is not None:
            self._queue.put(self._finetune(job, outcome, self._parent))
        elif job.phase == Phase.FINETUNE and outcome.ok:
            text = self._texts[job.name]
            self._queue.put(
                evaluation(
                    self._view, job, self.name, text, int(outcome.metrics["macs"]), parent=self._view.parent_text
                )
            )

    def _space_of_parent(self) -> SubnetSpace:
        from harness.models.parts import parts_of  # imports torch, which reading a config must not

        view, config = self._view, self._config
        try:
            parts = parts_of(view.parent, view.parent_info.image_shape)
        except ValueError as error:
            raise ValueError(f"routes.{self.name}: {error}") from None
        rule = WidthRule(config.width_steps, config.round_to, config.channel_floor)
        kinds = [kind for key, kind in KINDS.items() if getattr(config, key)]
        name = str(view.config.parent.timm or view.config.parent.variant)
        return SubnetSpace(f"sub-networks of {name}", parts, rule, kinds)

    def _evenly(self, target: int) -> Member:
        """The network that keeps the same share of every group: a finalist for each target, so there is always one."""
        try:
            return self._space.even(target)
        except ValueError as error:
            raise ValueError(f"routes.{self.name}: {error}") from None

    def _proposals(self) -> list[Proposal]:
        """As many proposals as one job scores; none while the strategy waits or once it is done."""
        found: list[Proposal] = []
        while len(found) < self._config.scored_per_job and isinstance(proposal := self._strategy.ask(), Proposal):
            found.append(proposal)
        return found

    def _search_further(self, target: int) -> None:
        """Continue within an added target, once all outcomes are told and the networks of earlier targets are chosen."""
        self._current = target, len(self._strategy.proposed)
        self._strategy.extend(target, self._share)
        self._unsearched.append(target)

    def _scores(self, proposals: list[Proposal], parent: Job) -> Job:
        target, first = self._current or (None, 0)
        id = JobId(self.name, self.replicate, target, f"scores-{proposals[0].trial - first:03d}")
        self._trials[str(id)] = proposals
        return self._score(id, [self._space.member(proposal.arch) for proposal in proposals], "first", parent)

    def _final_scores(self, target: int, parent: Job) -> Job:
        archs = self._strategy.finalists(target, self._config.num_predicted, self._config.num_seen)
        filled = [self._space.filled(arch, target) for arch in archs]
        near = [member for member in filled if self._space.is_near(member, target)]
        id = JobId(self.name, self.replicate, target, "finalists")
        self._finalists[str(id)] = list(dict.fromkeys([*near, self._even[target]]))
        return self._score(id, self._finalists[str(id)], "second", parent)

    def _score(self, id: JobId, members: Sequence[Member], half: HalfName, parent: Job) -> Job:
        macs = [macs_of(self._space.parts, member) for member in members]
        return self._view.job(
            id,
            Phase.SEARCH,
            Score(tuple(members), half),
            self._view.parent,
            max(macs),
            computed_macs=round(sum(macs) / len(macs)),
            start=WeightsOf(parent.name),
            image_size=parent.image_size,
        )

    def _finetune(self, job: Job, outcome: Outcome, parent: Job) -> Job:
        members = self._finalists[job.name]
        scores = _scores_in(outcome, job)
        best = max(range(len(members)), key=lambda i: scores[i] or 0.0)
        is_even = members[best] == self._even[job.target or 0]
        id = JobId(self.name, self.replicate, job.target, f"finetune-{best}")
        found = "the even one of" if is_even else f"found by {self._config.strategy.name} in"
        self._texts[str(id)] = f"{found} {self._space.name}, scored with inherited weights and fine-tuned"
        return self._view.job(
            id,
            Phase.FINETUNE,
            Train(self._view.recipe(self._config.finetune)),
            self._view.parent,
            macs_of(self._space.parts, members[best]),
            is_smaller=True,
            start=InheritedFrom(parent.name, self._view.parent, members[best]),
            image_size=parent.image_size,
        )


def _scores_in(outcome: Outcome, job: Job) -> Sequence[float | None]:
    """The score of each member of a job; None for each if the job failed."""
    num = len(job.work.archs) if isinstance(job.work, Score) else 0
    if not outcome.ok:
        return [None] * num
    return outcome.metrics.get("scores") or [outcome.metrics.get("val_top1")] * num
