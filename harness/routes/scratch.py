"""The control: networks of the target's size trained directly, without a parent and without a search.

For each target there are up to four controls:

- the largest network of the parent's family within the target;
- the structure (masks or widths) found by the prune route's first method, on fresh weights, trained with as much compute as
  pre-training and fine-tuning together: Scratch-B of Liu et al. 2019 (arXiv 1810.05270, section 3);
- the same structure, trained for as many epochs as the parent: Scratch-E;
- masks that keep the same share of every layer, at random positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from accounting.ledger.records import Phase
from accounting.ledger.specs import NetworkSpec
from accounting.study.yaml12 import Place
from accounting.words.names import CONTROLS, FAMILY_CONTROL, PRUNE, Role, RouteWords
from harness.config.begun import Begun
from harness.config.recipe import RecipeOverride
from harness.config.route_section import Found, PhaseRecipe, RouteSection, useless
from harness.jobs.identity import JobId
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.start import StructureOf
from harness.jobs.work import Train
from harness.routes.base import Queue, View, evaluation, pretrain_id
from harness.routes.chain import structure_ids
from nas_baseline.spaces.families import family_macs, image_size, network_spec, variants

if TYPE_CHECKING:
    from harness.config.study import ParentConfig, StudyConfig
    from harness.data.base import DataInfo

WORDS = RouteWords(
    Role.CONTROL, "scratch", "#009E73", rank=3, phrase="the controls",
    summary="Controls: train networks of the target size directly.",
    labels=CONTROLS,
)  # fmt: skip
STRUCTURES = {
    "pruned_structure": "pruned_structure",
    "equal_epochs": "pruned_structure_equal_epochs",
    "random_masks": "random_masks",
}
"""By switch of the config: the kind of control with a pruned structure, as in its job's name and its label."""


class Config(RouteSection):
    """The control: networks of the target size trained directly."""

    family: bool = True
    """Train the family's own network of the target size, if the parent has a family."""
    pruned_structure: bool = True
    """Train the pruned structure on fresh weights, for as long as pre-training and fine-tuning together (Scratch-B)."""
    equal_epochs: bool = False
    """Train the pruned structure on fresh weights, for as many epochs as the parent (Scratch-E)."""
    random_masks: bool = False
    """Train fresh weights under masks that keep the same share of every layer, at random positions."""
    train: RecipeOverride = RecipeOverride()
    """Training of the family's network; the other controls use all of it except ``epochs``."""

    @property
    def needs_prune(self) -> bool:
        """Whether any control takes its structure from the prune route."""
        return self.pruned_structure or self.equal_epochs or self.random_masks

    LISTENS_TO: ClassVar[tuple[str, ...]] = (PRUNE,)

    def problems(self, study: StudyConfig, route: str) -> Iterator[str]:
        """See :class:`RouteSection`."""
        prune = study.routes.prunings.get(PRUNE)
        if prune is None:
            if self.needs_prune:
                yield f"routes.{route}.pruned_structure needs the prune route; set it to false or add prune"
        elif self.random_masks and prune.methods[0].is_structured:
            yield (
                f"routes.{route}.random_masks needs masks, which {prune.methods[0]} has none of; name another "
                "criterion first, or set it to false"
            )
        if self.equal_epochs and study.parent.pretrain.over(study.recipe).epochs == 0:
            yield f"routes.{route}.equal_epochs: the parent is not trained here, so it has no epochs to equal"

    def without_effect(self, study: StudyConfig, place: Place) -> Iterator[Found]:
        """See :class:`RouteSection`."""
        has_family = study.parent.family is not None
        if "family" in self.model_fields_set and self.family and not has_family:
            yield useless((*place, "family"), "the parent is a timm network, which has no smaller siblings here")
        trains_family = self.family and has_family
        if not trains_family and self.needs_prune and "epochs" in self.train.model_fields_set:
            yield useless(
                (*place, "train", "epochs"),
                "they are the family's network's, which is not trained; pruned structures take the parent's and finetune's",
            )
        if not trains_family and not self.needs_prune:
            where = ".".join(map(str, place))
            yield place, f"{where} trains nothing: no control is switched on; switch one on or remove it"

    def phases(self, study: StudyConfig, place: Place) -> Iterator[PhaseRecipe]:
        """See :class:`RouteSection`; one phase per control in use. Smaller structures may train for more epochs."""
        pretrained = study.parent.pretrain.over(study.recipe).epochs
        counts = []
        if self.family and study.parent.family is not None:
            counts.append(self.train.over(study.recipe).epochs)
        if self.equal_epochs and pretrained > 0:
            counts.append(pretrained)
        prune = study.routes.prunings.get(PRUNE)
        if prune is not None and (self.pruned_structure or self.random_masks):
            counts.append(max(1, pretrained + prune.finetune.over(study.recipe).epochs))
        if counts:
            yield PhaseRecipe.of(study, (*place, "train"), self.train, min(counts))

    def parent_recipes(self) -> Iterator[tuple[str, RecipeOverride]]:
        """See :class:`RouteSection`."""
        if self.needs_prune:
            yield "train", self.train

    def is_bound(self, key: str, old: object, begun: Begun) -> bool:
        """See :class:`RouteSection`; a control may be switched on at any time, and off until it has begun."""
        if key == "train.epochs":  # those of the family's network alone
            return _is_begun("family", begun)
        return bool(old) and _is_begun(key, begun) if key in ("family", *STRUCTURES) else True

    def binds_elsewhere(self, route: str, key: str, begun: Begun) -> bool:
        """See :class:`RouteSection`; the compute given to a pruned structure depends on the epochs of fine-tuning."""
        is_its = route == PRUNE and key.partition(".")[0] == "finetune"
        return is_its and any(_is_begun(switch, begun) for switch in STRUCTURES)


def _is_begun(switch: str, begun: Begun) -> bool:
    """Whether the control of a switch has begun."""
    steps = begun.steps(Phase.RETRAIN)
    if switch == "family":
        return bool(steps - {_step(kind) for kind in STRUCTURES.values()})
    return _step(STRUCTURES[switch]) in steps


def _step(kind: str) -> str:
    """The step, in the job's id, of the training of a pruned structure."""
    return f"{kind}-retrain"


@dataclass(frozen=True)
class Sibling:
    """A network of the parent's family, with its MACs at its own image size (None: the dataset's, as for the parent)."""

    variant: str
    network: NetworkSpec
    macs: int
    image_size: int | None


def siblings(parent: ParentConfig, info: DataInfo) -> list[Sibling]:
    """The networks of the parent's family for a dataset; none if it has no family."""
    family, channels, num_outputs = str(parent.family), info.image_shape[0], info.task.num_outputs
    found = []
    for variant in variants(family) if parent.family is not None else ():
        side = _side_of(parent, variant, info)
        macs = family_macs(family, variant, channels, num_outputs, side or info.image_shape[1])
        found.append(Sibling(variant, network_spec(family, variant, channels, num_outputs), macs, side))
    return found


def family_within(parent: ParentConfig, info: DataInfo, target: int) -> Sibling | None:
    """The largest network of the parent's family with at most ``target`` MACs; None if there is none."""
    within = (sibling for sibling in siblings(parent, info) if sibling.macs <= target)
    return max(within, key=lambda sibling: sibling.macs, default=None)


def _side_of(parent: ParentConfig, variant: str, info: DataInfo) -> int | None:
    """A sibling's image size, in proportion to its published one; None if the parent has the dataset's."""
    if parent.image_size is None:
        return None
    side = (
        parent.image_size
        * image_size(str(parent.family), variant)
        / image_size(str(parent.family), str(parent.variant))
    )
    return min(round(side), info.image_shape[1])


class Route:
    """One replicate. Per target ``retrain`` → ``evaluate``, for each kind of network."""

    name = "scratch"

    def __init__(self, view: View, replicate: int, config: Config) -> None:
        self.replicate = replicate
        self._view = view
        self._config = config
        self._queue = Queue()
        self._texts: dict[str, tuple[str, str]] = {}
        self._expected: dict[JobId, set[JobId]] = {}
        """Jobs of the prune route whose structures are awaited, each with the jobs on which it depends."""
        prune = view.config.routes.prunings.get(PRUNE)
        self._tuned = 0 if prune is None else view.recipe(prune.finetune).epochs
        if config.needs_prune and prune is not None:
            for target in view.config.targets:
                *before, structure = structure_ids(PRUNE, replicate, target, prune)
                self._expected[structure] = {pretrain_id(replicate), *before}
        if self._config.family and view.config.parent.family is not None:
            for target in view.config.targets:
                self._put_family(target)

    def ask(self) -> Job | Wait | Done:
        """See :class:`harness.jobs.job.Route`."""
        return self._queue.next(more=bool(self._expected))

    def tell(self, job: Job, outcome: Outcome) -> None:
        """See :class:`harness.jobs.job.Route`; also listens to the prune route, whose structures it needs."""
        if self._expected.pop(job.id, None) is not None:
            if outcome.ok:
                self._put_structures(job, outcome)
        elif not outcome.ok and job.route == PRUNE:
            self._expected = {id: before for id, before in self._expected.items() if job.id not in before}
        elif self._queue.record(job, outcome) and job.phase == Phase.RETRAIN and outcome.ok:
            label, text = self._texts[job.name]
            self._queue.put(evaluation(self._view, job, label, text, int(outcome.metrics["macs"])))

    def _put_family(self, target: int) -> None:
        found = family_within(self._view.config.parent, self._view.info, target)
        if found is None:
            return
        id = JobId(self.name, self.replicate, target, f"family_{found.variant}-retrain")
        self._texts[str(id)] = FAMILY_CONTROL, "family network within the target"
        work = Train(self._view.recipe(self._config.train))
        self._queue.put(self._view.job(id, Phase.RETRAIN, work, found.network, found.macs, image_size=found.image_size))

    def _put_structures(self, source: Job, outcome: Outcome) -> None:
        macs = int(outcome.metrics["macs"])
        computed_macs = macs if source.is_smaller else source.computed_macs
        pretrained = self._view.pretraining.epochs
        # Zeros are multiplied too, so a masked network's epoch costs what the parent's does; a smaller one's costs
        # less, and equal compute buys more epochs of it.
        equal_cost = max(1, round(pretrained / (computed_macs / self._view.parent_macs) + self._tuned))
        if self._config.pruned_structure:
            text = "pruned structure on fresh weights, at the cost of pre-training and fine-tuning"
            self._put_structure(source, macs, computed_macs, "pruned_structure", equal_cost, text)
        if self._config.equal_epochs and pretrained > 0:
            text = "pruned structure on fresh weights, for the epochs of the pre-training"
            self._put_structure(source, macs, computed_macs, "pruned_structure_equal_epochs", pretrained, text)
        if self._config.random_masks:
            text = "random masks with the pruned share of every layer on fresh weights"
            self._put_structure(source, macs, computed_macs, "random_masks", equal_cost, text)

    def _put_structure(self, source: Job, macs: int, computed_macs: int, kind: str, epochs: int, text: str) -> None:
        id = JobId(self.name, self.replicate, source.target, _step(kind))
        self._texts[str(id)] = f"scratch_{kind}", text
        self._queue.put(
            self._view.job(
                id,
                Phase.RETRAIN,
                Train(self._view.recipe(self._config.train, {"epochs": epochs})),
                self._view.parent,
                macs,
                computed_macs=computed_macs,
                is_smaller=source.is_smaller,
                start=StructureOf(source.name, shuffled=kind == "random_masks"),
                image_size=source.image_size,
            )
        )
