"""The section that a route's file defines, ``class Config(RouteSection)``, and what a route can do besides proposing jobs.

Everything here has a default, so a route declares only what differs: which search or pruning it does, which routes it
listens to, what is not allowed in its section, how it trains. Config, plan, checks and resuming ask the section; they know
no route by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from accounting.study.yaml12 import Place
from harness.config.caps import Caps
from harness.config.recipe import Recipe, RecipeOverride
from harness.config.section import Strict

if TYPE_CHECKING:
    from harness.config.begun import Begun
    from harness.config.study import StudyConfig

Found = tuple[Place, str]
"""A problem: its place, and what is wrong and what to do."""
WHOLE = ""
"""The key of a :class:`Part` that is the whole section."""


class Part(NamedTuple):
    """Where a route's section holds its search or its pruning: under ``key``, or :data:`WHOLE` of it.

    If the key is left out, the section of the route ``else_of`` is used.
    """

    key: str = WHOLE
    else_of: str | None = None


@dataclass(frozen=True)
class PhaseRecipe:
    """One phase: its place in the config, its overrides (``given``), and the recipe that results from them.

    ``epochs`` are those of its shortest training, for instance of one round if rounds share the epochs.
    """

    place: Place
    given: RecipeOverride
    recipe: Recipe
    epochs: int

    @property
    def name(self) -> str:
        """The place as errors write it."""
        return ".".join(map(str, self.place))

    @staticmethod
    def of(study: StudyConfig, place: Place, given: RecipeOverride, epochs: int | None = None) -> PhaseRecipe:
        """A phase of a study; its epochs are the recipe's unless others are given."""
        recipe = given.over(study.recipe)
        return PhaseRecipe(place, given, recipe, recipe.epochs if epochs is None else epochs)


class RouteSection(Strict):
    """Base class of a route's section. Keys are pydantic fields with a docstring each; the rest is what a route can do."""

    SEARCH: ClassVar[Part | None] = None
    """Where its :class:`harness.config.blocks.SearchConfig` is; None if it does not search."""
    PRUNING: ClassVar[Part | None] = None
    """Where its :class:`harness.config.blocks.PruneConfig` is; None if it does not prune."""
    LISTENS_TO: ClassVar[tuple[str, ...]] = ()
    """Routes whose outcomes it waits for; if they have spent the same, they are asked first."""
    KEEPS_TARGETS: ClassVar[bool] = False
    """Whether its first proposals depend on the targets, as in a search; the study then remembers its first targets."""
    ALONE: ClassVar[bool] = True
    """Whether it may be the only route of a study."""

    @property
    def prunes_the_parent(self) -> bool:
        """Whether it prunes the study's parent rather than a network that it has found."""
        return self.PRUNING is not None and self.SEARCH is None

    def part(self, part: Part | None) -> RouteSection | None:
        """The section at a part; None if its key is left out, or if there is no such part."""
        if part is None or part.key == WHOLE:
            return None if part is None else self
        found: RouteSection | None = getattr(self, part.key)
        return found

    def with_part(self, part: Part | None, value: RouteSection) -> RouteSection:
        """A copy with another section at a part."""
        if part is None or part.key == WHOLE:
            return value
        return self.model_copy(update={part.key: value})

    def planned(self) -> RouteSection:
        """The section with which a plan simulates the route: it gives as many jobs of the same size, but quickly."""
        return self.model_copy(update={key: part.planned() for key, part in self._parts()})

    def rehearsed(self, caps: Caps, base: Recipe) -> Self:
        """A copy with all trainings and numbers of candidates cut to ``caps``; ``base`` is the study's recipe."""
        changes: dict[str, object] = {key: part.rehearsed(caps, base) for key, part in self._parts()}
        for key in type(self).model_fields:
            if isinstance(value := getattr(self, key), RecipeOverride):
                changes[key] = caps.override(value, base)
        return self.with_values(changes)

    def with_values(self, values: Mapping[str, object]) -> Self:
        """A copy with other values for some keys. Keys whose value stays the same do not become explicitly given."""
        return self.model_copy(update={key: value for key, value in values.items() if value != getattr(self, key)})

    def problems(self, study: StudyConfig, route: str) -> Iterator[str]:
        """What is not allowed in this study, even in a stored config: one line per problem, with key and remedy.

        Called for the section of the route named ``route``, and for the search and pruning in it.
        """
        yield from ()

    def without_effect(self, study: StudyConfig, place: Place) -> Iterator[Found]:
        """Keys that are given and change nothing, which a new config may not have. ``place`` is the section's place."""
        for key, part in self._parts():
            yield from part.without_effect(study, (*place, key))

    def phases(self, study: StudyConfig, place: Place) -> Iterator[PhaseRecipe]:
        """How each of its phases trains, including those of 0 epochs."""
        for key, part in self._parts():
            yield from part.phases(study, (*place, key))

    def parent_recipes(self) -> Iterator[tuple[str, RecipeOverride]]:
        """(key, overrides of the recipe) for each training of the parent or of a network pruned from it."""
        yield from ()

    def compared(self) -> dict[str, object]:
        """The section in the form in which it is compared with a stored study's: equal meanings compare equal."""
        found: dict[str, object] = self.model_dump(mode="json")
        return found | {key: part.compared() for key, part in self._parts()}

    def is_bound(self, key: str, old: object, begun: Begun) -> bool:
        """Whether work already paid for depends on a key, whose value was ``old``.

        ``key`` is dotted, without the route's name; ``begun`` says which jobs of the route have begun.
        """
        first, _, rest = key.partition(".")
        part = dict(self._parts()).get(first)
        return True if part is None or not rest else part.is_bound(rest, old, begun)

    def lost(self, key: str, old: object, new: object, begun: Begun) -> list[str] | None:
        """For a key that lists what to try: items already paid for that the new value leaves out. None for any other key."""
        first, _, rest = key.partition(".")
        part = dict(self._parts()).get(first)
        return None if part is None or not rest else part.lost(rest, old, new, begun)

    def binds_elsewhere(self, route: str, key: str, begun: Begun) -> bool:
        """Whether begun jobs of this route depend on a key of another route."""
        return False

    def _parts(self) -> list[tuple[str, RouteSection]]:
        """The searches and prunings in the section that are written out, by key."""
        found = ((key, getattr(self, key)) for key in type(self).model_fields)
        return [(key, part) for key, part in found if isinstance(part, RouteSection)]


def useless(place: Place, why: str) -> Found:
    """The problem of a key that changes nothing."""
    return place, f"{'.'.join(map(str, place))}: has no effect: {why}; remove it"
