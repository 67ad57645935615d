"""The sections under ``routes`` in a config, one per route, and the budgets; the routes' files define both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, GetJsonSchemaHandler, ModelWrapValidatorHandler, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from accounting.study import plugins
from accounting.words.names import Role, RouteWords
from harness.config.blocks import PruneConfig, SearchConfig
from harness.config.caps import Caps
from harness.config.recipe import Recipe
from harness.config.route_files import packaged_routes, route_names, section_class, words_in
from harness.config.route_section import Part, RouteSection
from harness.config.section import Hours, Strict

NOTHING_MORE = RouteSection()
"""The abilities of a section that is not a :class:`RouteSection`."""


class _ByRoute(Strict):
    """A section with one key per route. :func:`with_keys` makes the class that has the keys, from the routes' files."""

    @model_validator(mode="wrap")
    @classmethod
    def _by_its_keys(cls, raw: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not _is_base(cls) or not isinstance(raw, dict):
            return handler(raw)
        return with_keys(cls, [name for name in more_routes(cls) if name in raw]).model_validate(raw)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with the keys of the package's routes."""
        if not _is_base(cls):
            return handler(core_schema)
        return handler.resolve_ref_schema(handler(with_keys(cls).__pydantic_core_schema__))


Base = TypeVar("Base", bound=_ByRoute)


class RoutesConfig(_ByRoute):
    """Which routes run; a route left out does not."""

    @property
    def sections(self) -> dict[str, Strict]:
        """The sections of the routes that run."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in found.items() if section is not None}

    @property
    def powers(self) -> dict[str, RouteSection]:
        """What each route that runs can do besides proposing jobs."""
        return {n: s if isinstance(s, RouteSection) else NOTHING_MORE for n, s in self.sections.items()}

    @property
    def names(self) -> list[str]:
        """The routes that run."""
        return list(self.sections)

    @property
    def outside(self) -> list[str]:
        """The routes that run and come from outside the package."""
        return [name for name in self.sections if name not in packaged_routes()]

    @property
    def in_comparison(self) -> list[str]:
        """The routes that run and deliver networks of their own, by role and rank."""
        words = {name: said for name, said in self.words.items() if said.delivers_its_own}
        return sorted(words, key=lambda name: (list(Role).index(words[name].role), words[name].rank, name))

    @property
    def in_turn(self) -> list[str]:
        """The routes that run, in the order that breaks ties between them: those listened to, others, those that listen.

        Routes from outside the package come last.
        """
        powers = self.powers
        outside, heard = self.outside, {name for section in powers.values() for name in section.LISTENS_TO}

        def turn(name: str) -> tuple[bool, int, int, int, str]:
            words = words_in(name)
            place = 0 if name in heard else 2 if powers[name].LISTENS_TO else 1
            return name in outside, place, list(Role).index(words.role), words.rank, name

        return sorted(powers, key=turn)

    @property
    def searches(self) -> dict[str, SearchConfig]:
        """Every search of a study by route."""
        found = {name: self._part(name, "SEARCH") for name in self.names}
        return {name: part for name, part in found.items() if isinstance(part, SearchConfig)}

    @property
    def keeping_targets(self) -> list[str]:
        """The routes whose first jobs depend on the targets; targets added later are kept apart from the first ones."""
        searches = self.searches
        return [name for name, section in self.powers.items() if name in searches or section.KEEPS_TARGETS]

    @property
    def prunings(self) -> dict[str, PruneConfig]:
        """Every pruning of a study by route."""
        found = {name: self._part(name, "PRUNING") for name in self.names}
        return {name: part for name, part in found.items() if isinstance(part, PruneConfig)}

    @property
    def of_the_parent(self) -> dict[str, PruneConfig]:
        """Every pruning of the study's parent by route."""
        return {name: part for name, part in self.prunings.items() if self.powers[name].prunes_the_parent}

    def is_written(self, route: str, part: Part | None) -> bool:
        """Whether a search or pruning is written in the route's own section rather than taken from another's."""
        return self.powers[route].part(part) is not None

    def with_searches(self, searches: Mapping[str, SearchConfig]) -> Self:
        """A copy with other searches, by route, written into their sections."""
        powers = self.powers
        return self.model_copy(update={n: powers[n].with_part(powers[n].SEARCH, part) for n, part in searches.items()})

    def with_prunings(self, prunings: Mapping[str, PruneConfig]) -> Self:
        """A copy with other prunings, by route, written into their sections."""
        powers = self.powers
        return self.model_copy(update={n: powers[n].with_part(powers[n].PRUNING, part) for n, part in prunings.items()})

    @property
    def resolved(self) -> Self:
        """A copy in which each section also holds the searches and prunings that it takes from another."""
        powers = self.powers
        searches = {n: part for n, part in self.searches.items() if not self.is_written(n, powers[n].SEARCH)}
        whole = self.with_searches(searches)
        return whole.with_prunings(
            {n: part for n, part in self.prunings.items() if not self.is_written(n, powers[n].PRUNING)}
        )

    @property
    def planned(self) -> Self:
        """A copy with the sections with which a plan simulates the routes."""
        own = {name: section for name, section in self.sections.items() if isinstance(section, RouteSection)}
        return self.model_copy(update={name: section.planned() for name, section in own.items()})

    def rehearsed(self, caps: Caps, base: Recipe) -> Self:
        """A copy with every section as a rehearsal runs it; ``base`` is the study's recipe."""
        own = {name: section for name, section in self.sections.items() if isinstance(section, RouteSection)}
        return self.model_copy(update={name: section.rehearsed(caps, base) for name, section in own.items()})

    @property
    def words(self) -> dict[str, RouteWords]:
        """What each route that runs is called."""
        return {name: words_in(name) for name in self.names}

    def _part(self, route: str, kind: Literal["SEARCH", "PRUNING"]) -> RouteSection | None:
        powers = self.powers
        part: Part | None = getattr(powers[route], kind)
        found = powers[route].part(part)
        if found is not None or part is None or part.else_of not in powers:
            return found
        other = powers[part.else_of]
        return other.part(getattr(other, kind))


class BudgetConfig(_ByRoute):
    """Device-hours per route and replicate; no limit if left out. A route gets no job that its rest cannot pay for.

    What its networks still need is kept for them: search ends early enough to retrain its finalists.
    """

    equal: Hours | None = None
    """Device-hours of each route that has no budget of its own here."""

    def with_equal(self, routes: Sequence[str]) -> Self:
        """A copy with the equal hours written out for each of the routes."""
        if self.equal is None:
            return self
        own = {route: self.equal for route in routes if getattr(self, route) is None}
        return self.model_copy(update={**own, "equal": None})


def with_keys(base: type[Base], more: Sequence[str] = ()) -> type[Base]:
    """A class with a key for each route of the package, and for ``more`` routes from outside it."""
    return _with_keys(base, tuple(more), plugins.in_use())


def more_routes(model: type[BaseModel]) -> list[str]:
    """Names of routes from outside the package that a section may have as keys; only ``routes`` and ``budget`` have any."""
    return [name for name in route_names() if name not in packaged_routes()] if _is_base(model) else []


def as_found(model: type[BaseModel]) -> type[BaseModel]:
    """The class that has the keys: for ``routes`` and ``budget``, the one with the package's routes."""
    return with_keys(model) if issubclass(model, _ByRoute) and _is_base(model) else model


@cache
def _with_keys(base: type[Base], more: tuple[str, ...], files: tuple[plugins.PluginFile, ...]) -> type[Base]:
    """The class, the same one whenever the same files are in use (each with its content's hash)."""
    fields: dict[str, Any] = {}
    for name in (*packaged_routes(), *more):
        words = words_in(name)
        if issubclass(base, RoutesConfig):
            fields[name] = section_class(name) | None, Field(None, description=words.summary)
        else:
            fields[name] = Hours | None, Field(None, description=f"Device-hours of {words.phrase}.")
    return create_model(
        f"{base.__name__}OfFiles",
        __base__=base,
        __doc__=base.__doc__,
        __module__=__name__,
        __cls_kwargs__={"title": base.__name__},
        **fields,
    )


def routes_alone() -> list[str]:
    """The package's routes that may be a study's only route, in the order in which they are shown."""
    sections = {name: section_class(name) for name in packaged_routes()}
    found = [name for name, section in sections.items() if issubclass(section, RouteSection) and section.ALONE]
    return sorted(found, key=lambda name: (list(Role).index(words_in(name).role), words_in(name).rank))


def _is_base(model: type[BaseModel]) -> bool:
    return model in (RoutesConfig, BudgetConfig)
