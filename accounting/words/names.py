"""What the parts of a study are called: routes and their roles, kinds of delivered networks, the unit of cost.

One row per route, one per control. Whoever shows or compares them asks here; a route that is not in the table is a
control, with its own name as text and a spare colour.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from accounting.words.methods import Method, parse_method
from accounting.words.quantities import HOUR_S, MAX_HOURS

METHOD_MARK = ":"
"""Between the route and the method in the label of a single method's network: ``prune:global_lamp``."""
MAX_LABEL_CHARS = 40
"""What a drawing has room for beside its axes."""


class Role(StrEnum):
    """What a route is for."""

    COMPARED = "compared"
    """One of the two whose costs the headline compares."""
    CHALLENGER = "challenger"
    """Compared with pruning, too, in the place of search."""
    CONTROL = "control"
    """Shows what the compared routes add."""
    MEASURES = "measures"
    """Measures the parent and delivers nothing; no network is charged with it."""


@dataclass(frozen=True)
class RouteName:
    """A route: its name in configs and ledgers, its role, its name for people, its colour and marker in figures.

    Without a colour of its own it has a spare one.
    """

    name: str
    role: Role
    text: str
    colour: str | None = None
    marker: str = "D"


@dataclass(frozen=True)
class ControlName:
    """A kind of control network: its label, its name for people, its marker, and whether that is drawn hollow."""

    label: str
    text: str
    marker: str
    is_hollow: bool = True


SEARCH, PRUNE, SCRATCH, ANALYSIS = "search", "prune", "scratch", "analysis"
FAMILY_CONTROL = "scratch_family"
ROUTES = (
    RouteName(SEARCH, Role.COMPARED, "search", "#0072B2", "s"),
    RouteName(PRUNE, Role.COMPARED, "prune", "#D55E00", "o"),
    RouteName("supernet", Role.CHALLENGER, "supernet", "#56B4E9", "P"),
    RouteName("search_then_prune", Role.CHALLENGER, "search then prune", "#CC79A7", "X"),
    RouteName(SCRATCH, Role.CONTROL, "scratch", "#009E73"),
    RouteName(ANALYSIS, Role.MEASURES, "analysis"),
)
"""In the order in which they are shown; colours are Okabe and Ito's."""
CONTROLS = (
    ControlName(FAMILY_CONTROL, "scratch (family)", "^", is_hollow=False),
    ControlName("scratch_pruned_structure", "scratch (pruned structure)", "v"),
    ControlName("scratch_pruned_structure_equal_epochs", "scratch (pruned, equal epochs)", "<"),
    ControlName("scratch_random_masks", "scratch (random masks)", ">"),
)


def routes_of(*roles: Role) -> tuple[str, ...]:
    """The routes with one of these roles, in the order of the table."""
    return tuple(route.name for route in ROUTES if route.role in roles)


COMPARED = routes_of(Role.COMPARED)
CHALLENGERS = routes_of(Role.CHALLENGER)
"""Routes that are compared with pruning beside the headline, where a study has them."""
DELIVERED = (*(r.name for r in ROUTES if r.role in (Role.COMPARED, Role.CHALLENGER)), *(c.label for c in CONTROLS))
"""Labels of delivered networks, less those of single pruning methods."""


DeviceKind = Literal["cpu_core", "cuda"]


class Unit(StrEnum):
    """What costs are counted in."""

    GPU_HOURS = "gpu_hours"
    CPU_CORE_HOURS = "cpu_core_hours"

    @classmethod
    def of(cls, device_kind: DeviceKind) -> Unit:
        """The unit of a kind of device."""
        return cls.GPU_HOURS if device_kind == "cuda" else cls.CPU_CORE_HOURS

    @property
    def device_kind(self) -> DeviceKind:
        """The kind of device that it counts."""
        return "cuda" if self is Unit.GPU_HOURS else "cpu_core"

    @property
    def text(self) -> str:
        """For people."""
        return {Unit.GPU_HOURS: "GPU-hours", Unit.CPU_CORE_HOURS: "CPU core-hours"}[self]


_PER_DEVICE = {"second": 1 / HOUR_S, "minute": 1 / 60, "hour": 1.0, "h": 1.0, "day": 24.0, "year": 8760.0}
_DEVICES = {"gpu": Unit.GPU_HOURS, "cpucore": Unit.CPU_CORE_HOURS, "core": Unit.CPU_CORE_HOURS}
_AMOUNT = re.compile(r"\s*([0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)\s*([a-z][a-z _-]*?)s?\s*", re.IGNORECASE)
DEVICE_HOURS_EXAMPLE = "1200 GPU-hours, 8 GPU-days or 30 CPU core-minutes"


def parse_device_hours(value: str) -> tuple[float, Unit]:
    """Device-hours and their unit of ``1200 GPU-hours``, ``8 GPU-days`` or ``0.5 CPU core-hours``; 0 is an amount, too.

    Raises:
        ValueError: no amount with a unit of devices × time; names what is allowed.

    """
    text = value if len(value) <= MAX_LABEL_CHARS else ""
    found = _AMOUNT.fullmatch(text)
    word = re.sub(r"[ _-]", "", found[2].lower()) if found else ""
    device, time = next(((d, t) for d in _DEVICES for t in _PER_DEVICE if word == d + t), ("", ""))
    amount = float(found[1].replace(",", "")) if found else 0.0
    if found is None or not device or amount > MAX_HOURS:
        raise ValueError(
            f"{value!r} is no cost in devices × time; write an amount with its unit, as {DEVICE_HOURS_EXAMPLE}"
        )
    return amount * _PER_DEVICE[time], _DEVICES[device]


def unit_text(unit: str) -> str:
    """``gpu_hours`` → ``GPU-hours``; an unknown unit is shown as it is, never as another."""
    return Unit(unit).text if unit in list(Unit) else unit


def is_method(label: str) -> bool:
    """Whether a label is that of a single method's network (``prune:global_lamp``), not a route's own or a control."""
    return METHOD_MARK in label


def method_of(label: str) -> Method | None:
    """The pruning method of a label; None where it is not a single method's."""
    return parse_method(label.partition(METHOD_MARK)[2]) if is_method(label) else None


def method_label(route: str, method: Method | str) -> str:
    """The label of the network of a single method: ``prune:global_lamp``."""
    return f"{route}{METHOD_MARK}{method}"


def label_rank(label: str) -> tuple[int, str]:
    """Sorts kinds of networks: search, prune, further routes, the controls, then others by name."""
    return (DELIVERED.index(label) if label in DELIVERED else len(DELIVERED), label)


def route_rank(route: str) -> tuple[int, str]:
    """Sorts routes: those of the table first, in its order, then others by name."""
    known = [each.name for each in ROUTES]
    return (known.index(route) if route in known else len(known), route)


def label_text(label: str) -> str:
    """The name of a route, or of a kind of delivered network, for people."""
    method = method_of(label)
    if method is not None:
        return f"{label_text(label.partition(METHOD_MARK)[0])}: {method.text}"
    known = {route.name: route.text for route in ROUTES} | {control.label: control.text for control in CONTROLS}
    text = known.get(label, label.replace("_", " "))
    return text if len(text) <= MAX_LABEL_CHARS else text[: MAX_LABEL_CHARS - 1] + "…"
