"""The section that a route's file defines, ``class Config(RouteSection)``, and what a route can do besides proposing jobs.

Everything here has a default, so a route declares only what it has: which search or pruning it does, which routes it listens
to, what is not allowed in its section, how it trains. Config, plan, checks and resuming ask these and know no route by name.
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
"""(place, what is wrong and what to do)."""
WHOLE = ""
"""Place of a :class:`Part` that is the section itself."""


class Part(NamedTuple):
    """Where a route's section has its search or its pruning: a key of it, or :data:`WHOLE`.

    ``else_of`` names the route whose section serves where the key is left out.
    """

    key: str = WHOLE
    else_of: str | None = None


@dataclass(frozen=True)
class PhaseRecipe:
    """One phase: where it is written, what it changes of the study's recipe, what it trains by.

    ``epochs`` are those of its shortest training: of a round, where rounds share them.
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
        """A phase of a study; its epochs are the recipe's where no others are given."""
        recipe = given.over(study.recipe)
        return PhaseRecipe(place, given, recipe, recipe.epochs if epochs is None else epochs)


class RouteSection(Strict):
    """The keys of a route, as pydantic fields with a sentence below each, and what the route can do (see below)."""

    SEARCH: ClassVar[Part | None] = None
    """Where its search is, a :class:`harness.config.blocks.SearchConfig`; None if it does not search."""
    PRUNING: ClassVar[Part | None] = None
    """Where its pruning is, a :class:`harness.config.blocks.PruneConfig`; None if it does not prune."""
    LISTENS_TO: ClassVar[tuple[str, ...]] = ()
    """Routes whose outcomes it waits for; they are asked for jobs before it if they have spent as much."""
    KEEPS_TARGETS: ClassVar[bool] = False
    """Whether its first proposals depend on the targets, as a search's do; a study keeps the targets that it began with."""
    ALONE: ClassVar[bool] = True
    """Whether a study may have it and no other route."""

    @property
    def prunes_the_parent(self) -> bool:
        """Whether it prunes the study's parent, rather than a network that it found."""
        return self.PRUNING is not None and self.SEARCH is None

    def part(self, part: Part | None) -> RouteSection | None:
        """The value at a part of it; None if the key is left out, or if there is no such part."""
        if part is None or part.key == WHOLE:
            return None if part is None else self
        found: RouteSection | None = getattr(self, part.key)
        return found

    def with_part(self, part: Part | None, value: RouteSection) -> RouteSection:
        """With another section at a part of it."""
        if part is None or part.key == WHOLE:
            return value
        return self.model_copy(update={part.key: value})

    def planned(self) -> RouteSection:
        """The section with which a plan simulates the route: as many jobs of the same sizes, found quickly."""
        return self.model_copy(update={key: part.planned() for key, part in self._parts()})

    def rehearsed(self, caps: Caps, base: Recipe) -> Self:
        """The section with every training and number of candidates cut to ``caps``; ``base`` is the study's own recipe."""
        changes: dict[str, object] = {key: part.rehearsed(caps, base) for key, part in self._parts()}
        for key in type(self).model_fields:
            if isinstance(value := getattr(self, key), RecipeOverride):
                changes[key] = caps.override(value, base)
        return self.with_values(changes)

    def with_values(self, values: Mapping[str, object]) -> Self:
        """With other values of some keys; those that are the same still count as given only where they were."""
        return self.model_copy(update={key: value for key, value in values.items() if value != getattr(self, key)})

    def problems(self, study: StudyConfig, route: str) -> Iterator[str]:
        """What is not allowed in this study, a line each with key and remedy: refused in every config, stored ones too.

        Asked of a route's section and of the search and pruning in it; ``route`` is the route's name.
        """
        yield from ()

    def without_effect(self, study: StudyConfig, place: Place) -> Iterator[Found]:
        """Keys that were given and change nothing: refused in a new config. ``place`` is the place of the section."""
        for key, part in self._parts():
            yield from part.without_effect(study, (*place, key))

    def phases(self, study: StudyConfig, place: Place) -> Iterator[PhaseRecipe]:
        """How each of its phases trains, those of 0 epochs too."""
        for key, part in self._parts():
            yield from part.phases(study, (*place, key))

    def parent_recipes(self) -> Iterator[tuple[str, RecipeOverride]]:
        """(key, what it changes of the recipe) of each training of the parent, or of what it is pruned to."""
        yield from ()

    def compared(self) -> dict[str, object]:
        """The section as it is compared with that of a study that continues: equal meanings compare equal."""
        found: dict[str, object] = self.model_dump(mode="json")
        return found | {key: part.compared() for key, part in self._parts()}

    def is_bound(self, key: str, old: object, begun: Begun) -> bool:
        """Whether paid work depends on a key that had the value ``old``, given that jobs of the route were begun.

        ``key`` is dotted, without the route's name.
        """
        first, _, rest = key.partition(".")
        part = dict(self._parts()).get(first)
        return True if part is None or not rest else part.is_bound(rest, old, begun)

    def lost(self, key: str, old: object, new: object, begun: Begun) -> list[str] | None:
        """For a key that lists what is tried: items that were paid for and are left out now. None for any other key."""
        first, _, rest = key.partition(".")
        part = dict(self._parts()).get(first)
        return None if part is None or not rest else part.lost(rest, old, new, begun)

    def binds_elsewhere(self, route: str, key: str, begun: Begun) -> bool:
        """Whether begun jobs of this route depend on a key of another route."""
        return False

    def _parts(self) -> list[tuple[str, RouteSection]]:
        """Sections of searches and prunings within it that are written."""
        found = ((key, getattr(self, key)) for key in type(self).model_fields)
        return [(key, part) for key, part in found if isinstance(part, RouteSection)]


def useless(place: Place, why: str) -> Found:
    """A key that changes nothing."""
    return place, f"{'.'.join(map(str, place))}: has no effect: {why}; remove it"
