"""How each phase of a study trains: its recipe and epochs; and errors for settings that would be cut without notice.

The checks are for new studies only: stored ones have been trained as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from accounting.ledger.records import Phase
from harness.config.recipe import is_tuned, pretraining
from harness.config.resources import JobShape
from harness.config.route_section import Found, PhaseRecipe
from harness.config.tune import LEAST_RATES, LR_RANGE, Tune
from harness.errors import InputError

if TYPE_CHECKING:
    from harness.config.study import StudyConfig

PHASE_OF = {
    "pretrain": Phase.PRETRAIN,
    "train": Phase.RETRAIN,
    "finetune": Phase.FINETUNE,
    "candidate": Phase.SEARCH,
    "supernet": Phase.SUPERNET,
    "retrain": Phase.RETRAIN,
}
"""The phase of the jobs that use a section's recipe, by the section's last key."""
TUNED = (Phase.RETRAIN, Phase.FINETUNE)
"""Phases whose training can be tuned."""
TUNED_KEYS = tuple(sorted(key for key, phase in PHASE_OF.items() if phase in TUNED))
"""Sections whose recipe can be tuned."""


def phases(study: StudyConfig) -> list[PhaseRecipe]:
    """Every phase of the study, including those of 0 epochs."""
    recipe = pretraining(study.recipe, study.parent.pretrain)
    found = [PhaseRecipe(("parent", "pretrain"), study.parent.pretrain, recipe, recipe.epochs)]
    for route, section in study.routes.powers.items():
        found += section.phases(study, ("routes", route))
    return found


def warnings(study: StudyConfig, num_train: int | None = None) -> list[str]:
    """A sentence for each choice that is allowed but may mislead: an untrained parent, short fine-tuning.

    With ``num_train`` images to train on, also for each range test of too few updates.
    """
    coarse = [] if num_train is None else coarse_range_tests(study, num_train)
    return [*untrained_parent(study), *short_finetunings(study), *coarse]


def coarse_range_tests(study: StudyConfig, num_train: int) -> list[str]:
    """A sentence for each phase whose range test tries so few learning rates that it says little."""
    found = []
    for phase in phases(study):
        recipe = phase.recipe
        updates = max(1, num_train // recipe.batch_size)
        if phase.place[-1] in TUNED_KEYS and is_tuned(recipe) and recipe.tune == LR_RANGE and updates < LEAST_RATES:
            found.append(
                f"{phase.name}.tune: lr_range tries one learning rate in each of the {updates} updates of an epoch, and "
                f"fewer than {LEAST_RATES} say little; name rates instead, such as "
                f"{{lr: [{recipe.lr / 3:.2g}, {recipe.lr:g}]}}"
            )
    return found


def untrained_parent(study: StudyConfig) -> list[str]:
    """A sentence if the network that is pruned has learned nothing."""
    parent = study.parent
    is_loaded = parent.pretrained or parent.checkpoint is not None
    if is_loaded or pretraining(study.recipe, parent.pretrain).epochs > 0 or not study.routes.of_the_parent:
        return []
    return [
        "parent: its weights are random, since none are loaded and parent.pretrain has 0 epochs: an untrained network "
        "is pruned"
    ]


def short_finetunings(study: StudyConfig) -> list[str]:
    """A sentence for each fine-tuning with less than half of the parent's epochs."""
    whole = pretraining(study.recipe, study.parent.pretrain).epochs
    found = []
    for phase in phases(study):
        epochs = phase.recipe.epochs
        if phase.place[-1] == "finetune" and 0 < epochs < whole / 2:
            told = f"{epochs} epoch{'s' if epochs > 1 else ''}"
            found.append(
                f"{phase.name}: {told}, less than half of the parent's {whole}, which may show pruning below what it can do"
            )
    return found


def cut_in_silence(study: StudyConfig) -> list[Found]:
    """(place, what is wrong and what to do): a long warm-up, a ``min_lr`` above ``lr``, batches that repeats do not fill."""
    found: list[Found] = []
    for phase in phases(study):
        if phase.epochs == 0:
            continue
        recipe = phase.recipe
        if recipe.warmup_epochs > phase.epochs / 2:
            inherited = "" if phase.given.warmup_epochs is not None else " from the recipe"
            found.append(
                (
                    (*phase.place, "warmup_epochs"),
                    f"{phase.name}: warmup_epochs is {recipe.warmup_epochs:g}{inherited}, for a training of {phase.epochs} "
                    f"epochs; set {phase.name}.warmup_epochs to at most {phase.epochs / 2:g}, or train for longer",
                )
            )
        if recipe.min_lr > recipe.lr:
            found.append(
                (
                    (*phase.place, "min_lr"),
                    f"{phase.name}: min_lr is {recipe.min_lr:g}, above its lr of {recipe.lr:g}; the rate falls from lr to "
                    f"min_lr: set {phase.name}.min_lr to at most {recipe.lr:g}",
                )
            )
        found += _tuned_below(phase)
    return found + list(_compiled_supernets(study)) + list(_unfilled(study)) + list(_beyond_the_pixels(study))


def compiled_phases(study: StudyConfig) -> list[str]:
    """The names of the phases whose trainings are compiled; the study's recipe for what a user's own routes may train."""
    found = [phase.name for phase in phases(study) if phase.epochs > 0 and phase.recipe.compile]
    return found or (["recipe"] if study.recipe.compile and study.routes.outside else [])


def checked_shapes(study: StudyConfig, device: str) -> dict[Phase, JobShape]:
    """What the jobs of each phase hold on ``cpu`` or ``cuda``.

    Raises:
        InputError: workers and devices do not fit each other, or a batch has too few images for its workers and passes.

    """
    shapes = study.resources.shapes(device)
    for phase in phases(study):
        if (kind := PHASE_OF.get(str(phase.place[-1]))) is None:  # a phase of a user's own route
            continue
        workers, recipe = shapes[kind].workers, phase.recipe
        least = 2 * workers * recipe.accumulate
        if phase.epochs > 0 and recipe.batch_size < least:
            raise InputError(
                f"{phase.name}: batch_size is {recipe.batch_size}, for {workers} worker(s) and accumulate "
                f"{recipe.accumulate}; set {phase.name}.batch_size to at least {least}, two a pass, or lower accumulate"
            )
    return shapes


def _tuned_below(phase: PhaseRecipe) -> Iterator[Found]:
    """Learning rates to try that are below the rate at the end of the schedule."""
    tune, min_lr = phase.recipe.tune, phase.recipe.min_lr
    below = [lr for lr in tune.lr if lr < min_lr] if isinstance(tune, Tune) and phase.place[-1] in TUNED_KEYS else []
    if below and min_lr <= phase.recipe.lr:
        yield (
            (*phase.place, "tune", "lr"),
            f"{phase.name}: tune.lr has {min(below):g}, below the min_lr of {min_lr:g}; the rate falls from lr to min_lr: "
            f"name rates of at least that, or set {phase.name}.min_lr to at most {min(below):g}",
        )


def _compiled_supernets(study: StudyConfig) -> Iterator[Found]:
    for phase in phases(study):
        if PHASE_OF.get(str(phase.place[-1])) is Phase.SUPERNET and phase.recipe.compile and phase.epochs > 0:
            yield (
                (*phase.place, "compile"),
                f"{phase.name}: compile is true, and a supernet runs another network in every pass, each of which would be "
                f"compiled anew; set {phase.name}.compile to false",
            )


def _unfilled(study: StudyConfig) -> Iterator[Found]:
    """Batches that cannot hold every image as often as asked: named at the phase, or once at the study's recipe."""
    places = set()
    for phase in phases(study):
        times, size = phase.recipe.repeated_augmentation, phase.recipe.batch_size
        is_own = not {"batch_size", "repeated_augmentation"}.isdisjoint(phase.given.model_fields_set)
        place = phase.place if is_own else ("recipe",)
        if phase.epochs == 0 or size % times == 0 or place in places:
            continue
        places.add(place)
        fitting = (max(1, size // times) * times, (size // times + 1) * times)
        where = ".".join(map(str, place))
        yield (
            (*place, "repeated_augmentation"),
            f"{where}: repeated_augmentation is {times}, and a batch of {size} cannot have each image {times} times; set "
            f"{where}.batch_size to {' or '.join(map(str, dict.fromkeys(fitting)))}",
        )


def _beyond_the_pixels(study: StudyConfig) -> Iterator[Found]:
    for key in ("mean", "std"):
        values = getattr(study.dataset, key) or []
        if any(not 0 <= value <= 1 for value in values):
            yield (
                ("dataset", key),
                f"dataset.{key}: {values} given, of pixels of 0 to 1; divide values of 0 to 255 by 255",
            )
