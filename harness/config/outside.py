"""Sections of routes that are plug-ins of a user's own: each is checked by the class ``Config`` of its file."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from accounting.study import plugins
from accounting.words.names import ROUTES, Role

HELD = "outside"
"""The field that holds them."""


def outside_routes() -> list[str]:
    """The routes that are not of this package, by name."""
    return plugins.names(plugins.Kind.ROUTE)


def role_of(route: str) -> Role:
    """What an outside route is for: ``ROLE`` of its file, as text or :class:`Role`; a control where it does not say."""
    given = getattr(plugins.load(plugins.Kind.ROUTE, route), "ROLE", Role.CONTROL)
    try:
        return Role(given)
    except ValueError:
        raise ValueError(f"{route}: ROLE is {given!r}; allowed: {', '.join(Role)}") from None


def delivers_its_own(route: str) -> bool:
    """Whether a route delivers a network of its own name for every target; controls and measurements do not."""
    known = {each.name: each.role for each in ROUTES}
    if route in outside_routes():
        known[route] = role_of(route)
    return known.get(route) not in (Role.CONTROL, Role.MEASURES)


def split(cls: type[BaseModel], raw: Any) -> tuple[Any, dict[str, Any]]:
    """What a mapping says of the fields of ``cls``, and of outside routes."""
    if not isinstance(raw, dict):
        return raw, {}
    if HELD in raw:
        raise ValueError(f"{HELD}: not a key")
    own = {name: raw[name] for name in outside_routes() if name in raw and name not in cls.model_fields}
    return {key: value for key, value in raw.items() if key not in own}, own


def section_of(route: str, raw: Any) -> BaseModel:
    """The section of an outside route; ``ValueError`` with a line for what is wrong in it."""
    module = plugins.load(plugins.Kind.ROUTE, route)
    role_of(route)
    config = getattr(module, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        raise ValueError(f"{route}: its file has no class Config(Section) from harness.config.section")
    try:
        return config.model_validate(raw)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, (route, *each['loc'])))}: {each['msg']}" for each in error.errors())
        raise ValueError("; ".join(line.replace("Value error, ", "") for line in lines)) from None
