"""The files of routes: in the folder ``harness/routes``, in installed packages, and the user's own, all treated alike.

A file has its route's name, and defines three things at the top level:

``WORDS``
    What the route is called and what it is for (:class:`accounting.words.names.RouteWords`). A file may instead define just
    ``ROLE``, as text.
``Config``
    The route's section of a config, a :class:`harness.config.route_section.RouteSection`: its keys with their rules, and
    what else the route can do. Importing the file must be fast, so that a wrong config is refused quickly.
``Route``
    The state machine that proposes jobs (:class:`harness.jobs.job.Route`), created as ``Route(view, replicate, section)``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import ModuleType

from pydantic import BaseModel

from accounting.study import plugins
from accounting.words.names import Role, RouteWords
from harness.config.section import Strict


def route_names() -> list[str]:
    """Every route that a config may name, sorted; nothing is executed."""
    return plugins.names(plugins.Kind.ROUTE)


@cache
def packaged_routes() -> tuple[str, ...]:
    """The package's own routes, in the order of a config; remembered, since the package does not change."""
    return tuple(sorted(plugins.packaged(plugins.Kind.ROUTE), key=lambda name: (words_in(name).rank, name)))


def words_in(route: str) -> RouteWords:
    """What a route is called, according to its file.

    Raises:
        ValueError: ``WORDS`` or ``ROLE`` is invalid, or there is no such route.

    """
    module = _module(route)
    said = vars(module).get("WORDS")
    if said is None:
        given = vars(module).get("ROLE", Role.CONTROL)
        try:
            said = RouteWords(Role(given))
        except ValueError:
            raise ValueError(f"{route}: ROLE is {given!r}; allowed: {', '.join(Role)}") from None
    if not isinstance(said, RouteWords):
        raise ValueError(f"{route}: WORDS is not a RouteWords from accounting.words.names")
    text = said.text or route.replace("_", " ")
    return replace(said, text=text, phrase=said.phrase or f"the {text.replace(' ', '-')} route")


def delivers_its_own(route: str) -> bool:
    """Whether a route delivers a network under its own name for every target; controls and measurements do not."""
    return route not in route_names() or words_in(route).delivers_its_own


def section_class(route: str) -> type[Strict]:
    """The class of a route's section; ``ValueError`` if its file has none."""
    found = vars(_module(route)).get("Config")
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise ValueError(f"{route}: its file has no class Config(RouteSection) from harness.config.route_section")
    return found  # type: ignore[return-value]  # a file of a user's own may take any pydantic model


def _module(route: str) -> ModuleType:
    return plugins.load(plugins.Kind.ROUTE, route)
