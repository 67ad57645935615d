"""Names of the parts of a study: routes and their roles, kinds of delivered networks, the unit of cost.

A route's own file says what it is called, and ``study.yaml`` keeps it. All code that shows or compares routes asks
here. An undescribed route is a control, with its own name as text and a spare colour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from accounting.words.methods import Method, parse_method
from accounting.words.quantities import HOUR_S, MAX_HOURS

METHOD_MARK = ":"
"""Separates the route and the method in the label of a single method's network: ``prune:global_lamp``."""
MAX_LABEL_CHARS = 40
"""The most characters that fit next to the axes of a drawing."""


class Role(StrEnum):
    """The purpose of a route."""

    COMPARED = "compared"
    """One of the two routes whose costs the headline compares."""
    CHALLENGER = "challenger"
    """Compared with pruning, like search."""
    CONTROL = "control"
    """Shows what the compared routes add."""
    MEASURES = "measures"
    """Measures the parent and delivers nothing; no network is charged for it."""


@dataclass(frozen=True)
class ControlName:
    """A kind of network that a control delivers: label, name for people, marker, and whether the marker is hollow."""

    label: str
    text: str
    marker: str
    is_hollow: bool = True


@dataclass(frozen=True)
class RouteWords:
    """What a route is called, according to its file; a study keeps it for readers that do not have the file.

    ``text`` is the name for people (by default, the route's own name). Without a ``colour``, the route gets a spare
    one. ``rank`` is its place among the routes of its role. ``labels`` are the kinds of networks that it delivers under
    names other than its own.
    """

    role: Role = Role.CONTROL
    text: str = ""
    colour: str | None = None
    marker: str = "D"
    rank: int = 100
    labels: tuple[ControlName, ...] = ()
    phrase: str = ""
    """How a sentence refers to it, such as ``the controls``; by default ``the … route``."""
    summary: str = "A route from its own file."
    """What it does, in one sentence, for the config reference."""

    @property
    def delivers_its_own(self) -> bool:
        """Whether it delivers a network of its own name for every target; controls and measurements do not."""
        return self.role not in (Role.CONTROL, Role.MEASURES)

    def as_dict(self) -> dict[str, object]:
        """As stored in ``study.yaml``; :meth:`read` reads it."""
        found: dict[str, object] = {"role": str(self.role), "text": self.text, "marker": self.marker, "rank": self.rank}
        if self.colour is not None:
            found["colour"] = self.colour
        if self.labels:
            found["labels"] = [
                {"label": kind.label, "text": kind.text, "marker": kind.marker, "is_hollow": kind.is_hollow}
                for kind in self.labels
            ]
        return found

    @staticmethod
    def read(name: str, said: object) -> RouteWords:
        """Read what :meth:`as_dict` returned; whatever is missing or of another type counts as not given."""
        given = said if isinstance(said, Mapping) else {}
        role, rank, colour, labels = (given.get(key) for key in ("role", "rank", "colour", "labels"))
        return RouteWords(
            role=Role(role) if role in list(Role) else Role.CONTROL,
            text=_text(given.get("text")) or name.replace("_", " "),
            colour=colour if isinstance(colour, str) and re.fullmatch(r"#[0-9A-Fa-f]{6}", colour) else None,
            marker=_marker(given.get("marker")),
            rank=rank if type(rank) is int else 100,
            labels=tuple(
                ControlName(
                    each["label"],
                    _label_text(each["label"], _text(each.get("text"))),
                    _marker(each.get("marker")),
                    each.get("is_hollow") is not False,
                )
                for each in (labels if isinstance(labels, list) else [])
                if isinstance(each, Mapping) and isinstance(each.get("label"), str)
            ),
        )


MARKERS = "osDd^v<>PX"
"""Matplotlib's names of the markers for which the page has shapes."""


def _text(said: object) -> str:
    return said if isinstance(said, str) else ""


def _marker(said: object) -> str:
    return said if isinstance(said, str) and len(said) == 1 and said in MARKERS else "D"


def _label_text(label: str, said: str) -> str:
    """A study's name for a kind of network, replaced by today's name if it is an older version's."""
    return next((k.text for k in CONTROLS if k.label == label), said) if said in FORMER_TEXTS else said


SEARCH, PRUNE, SCRATCH, ANALYSIS = "search", "prune", "scratch", "analysis"
FAMILY_CONTROL = "scratch_family"
CONTROLS = (
    ControlName(FAMILY_CONTROL, "small network trained directly", "^", is_hollow=False),
    ControlName("scratch_pruned_structure", "pruned shape trained directly", "v"),
    ControlName("scratch_pruned_structure_equal_epochs", "pruned shape, equal epochs", "<"),
    ControlName("scratch_random_masks", "random masks trained directly", ">"),
)
FORMER_TEXTS = (
    "scratch (family)",
    "scratch (pruned structure)",
    "scratch (pruned, equal epochs)",
    "scratch (random masks)",
)
"""Names that older versions gave to the controls and wrote into their studies."""
ROUTES: Mapping[str, RouteWords] = MappingProxyType(
    {
        SEARCH: RouteWords(Role.COMPARED, "search", "#0072B2", "s", 1),
        PRUNE: RouteWords(Role.COMPARED, "prune", "#D55E00", "o", 2),
        "supernet": RouteWords(Role.CHALLENGER, "supernet", "#56B4E9", "P", 4),
        "search_then_prune": RouteWords(Role.CHALLENGER, "search then prune", "#CC79A7", "X", 5),
        SCRATCH: RouteWords(Role.CONTROL, "scratch", "#009E73", "D", 3, CONTROLS),
        ANALYSIS: RouteWords(Role.MEASURES, "analysis", None, "D", 6),
    }
)
"""Names of routes for old studies, which did not store them. New routes are not added here, as their own files name
them. The colours are Okabe and Ito's."""


class _Known:
    """The words of the routes known to this process: those above, then those of the study that it runs or plans.

    A process that reads several studies, to compare them, knows the words of all: each study describes its own routes.
    """

    def __init__(self) -> None:
        self.words: dict[str, RouteWords] = dict(ROUTES)

    def shown(self) -> list[str]:
        """Routes in the order in which they are shown: by role, then by rank."""
        roles = list(Role)
        return sorted(self.words, key=lambda n: (roles.index(self.words[n].role), self.words[n].rank, n))

    def labels(self) -> dict[str, ControlName]:
        return {kind.label: kind for name in self.shown() for kind in self.words[name].labels}


_known = _Known()


def learn(words: Mapping[str, RouteWords]) -> None:
    """Use these words, too, in this process from now on; a study's words take precedence over the table."""
    _known.words.update(words)


def learn_anew(words: Mapping[str, RouteWords]) -> None:
    """Use these words from now on, and forget those of the studies before: this process works on another one."""
    _known.words = {**ROUTES, **words}


def words_of(route: str) -> RouteWords:
    """The words of a route; an undescribed one is a control with its own name as text."""
    return _known.words.get(route) or RouteWords.read(route, None)


def control_of(label: str) -> ControlName | None:
    """The control's kind of network with this label; None if it is a route's own label, or unknown."""
    return _known.labels().get(label)


def route_of(label: str) -> str:
    """The route that delivers a kind of network: the control that has the label, else the route of that name."""
    name = without_method(label)
    return next((r for r, words in _known.words.items() if any(kind.label == name for kind in words.labels)), name)


def routes_of(*roles: Role) -> tuple[str, ...]:
    """The routes with one of these roles, in the order in which they are shown."""
    return tuple(name for name in _known.shown() if _known.words[name].role in roles)


COMPARED = routes_of(Role.COMPARED)
CHALLENGERS = routes_of(Role.CHALLENGER)
"""Routes that old studies compare with pruning besides the headline; newer studies store their own."""


def delivered_labels() -> tuple[str, ...]:
    """Labels of delivered networks, except those of single pruning methods, in the order in which they are shown."""
    return (*routes_of(Role.COMPARED, Role.CHALLENGER), *_known.labels())


DeviceKind = Literal["cpu_core", "cuda"]


def device_kind(device: str) -> DeviceKind:
    """The kind of device that jobs on ``cpu`` or ``cuda`` hold."""
    return "cuda" if device == "cuda" else "cpu_core"


class Unit(StrEnum):
    """The unit in which costs are counted."""

    GPU_HOURS = "gpu_hours"
    CPU_CORE_HOURS = "cpu_core_hours"

    @classmethod
    def of(cls, device_kind: DeviceKind) -> Unit:
        """The unit for a kind of device."""
        return cls.GPU_HOURS if device_kind == "cuda" else cls.CPU_CORE_HOURS

    @property
    def device_kind(self) -> DeviceKind:
        """The kind of device that it counts."""
        return "cuda" if self is Unit.GPU_HOURS else "cpu_core"

    @property
    def text(self) -> str:
        """The label as people read it."""
        return {Unit.GPU_HOURS: "GPU-hours", Unit.CPU_CORE_HOURS: "CPU core-hours"}[self]

    @property
    def devices(self) -> str:
        """The devices whose hours it counts, in the plural."""
        return {Unit.GPU_HOURS: "GPUs", Unit.CPU_CORE_HOURS: "CPU cores"}[self]


_PER_DEVICE = {"second": 1 / HOUR_S, "minute": 1 / 60, "hour": 1.0, "h": 1.0, "day": 24.0, "year": 8760.0}
_DEVICES = {"gpu": Unit.GPU_HOURS, "cpucore": Unit.CPU_CORE_HOURS, "core": Unit.CPU_CORE_HOURS}
_NUMBER = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
"""A comma separates thousands: 1,200 is 1200; 1,5 is refused, since it may mean 1.5 or 15."""
_AMOUNT = re.compile(rf"\s*({_NUMBER})\s*([a-z][a-z _-]*?)s?\s*", re.IGNORECASE)
DEVICE_HOURS_EXAMPLE = "1200 GPU-hours, 8 GPU-days or 30 CPU core-minutes"


def parse_device_hours(value: str) -> tuple[float, Unit]:
    """Device-hours and unit from ``1200 GPU-hours``, ``8 GPU-days`` or ``0.5 CPU core-hours``; 0 is allowed.

    Raises:
        ValueError: not an amount with a unit of devices × time; the message says what is allowed.

    """
    text = value if len(value) <= MAX_LABEL_CHARS else ""
    found = _AMOUNT.fullmatch(text)
    word = re.sub(r"[ _-]", "", found[2].lower()) if found else ""
    device, time = next(((d, t) for d in _DEVICES for t in _PER_DEVICE if word == d + t), ("", ""))
    amount = float(found[1].replace(",", "")) if found else 0.0
    if found is None or not device or amount > MAX_HOURS:
        point = ", with a point for decimals" if "," in value else ""
        raise ValueError(
            f"{value!r} is not a cost in devices × time; write an amount with its unit{point}, as {DEVICE_HOURS_EXAMPLE}"
        )
    return amount * _PER_DEVICE[time], _DEVICES[device]


def unit_text(unit: str) -> str:
    """``gpu_hours`` → ``GPU-hours``; an unknown unit is returned unchanged."""
    return Unit(unit).text if unit in list(Unit) else unit


def is_method(label: str) -> bool:
    """Whether a label names a single method's network (``prune:global_lamp``), not a route's own or a control's."""
    return METHOD_MARK in label


def method_of(label: str) -> Method | None:
    """The pruning method of a label; None if it is not a single method's."""
    return parse_method(label.partition(METHOD_MARK)[2]) if is_method(label) else None


def without_method(label: str) -> str:
    """``prune:global_lamp`` → ``prune``; any other label is returned unchanged."""
    return label.partition(METHOD_MARK)[0]


def file_name(label: str) -> str:
    """``prune:global_lamp`` → ``prune-global_lamp``: a label in names of jobs, folders and series."""
    return label.replace(METHOD_MARK, "-")


def method_label(route: str, method: Method | str) -> str:
    """The label of a single method's network: ``prune:global_lamp``."""
    return f"{route}{METHOD_MARK}{method}"


def label_rank(label: str) -> tuple[int, str]:
    """Sort key for kinds of networks: search, prune, further routes, the controls, then others by name."""
    known = delivered_labels()
    return (known.index(label) if label in known else len(known), label)


def route_rank(route: str) -> tuple[int, str]:
    """Sort key for routes: known ones by role and rank, then others by name."""
    known = _known.shown()
    return (known.index(route) if route in known else len(known), route)


def label_text(label: str) -> str:
    """The name of a route, or of a kind of delivered network, for people."""
    method = method_of(label)
    if method is not None:
        return f"{label_text(without_method(label))}: {method.text}"
    control = control_of(label)
    text = (control.text if control is not None else words_of(label).text) or label.replace("_", " ")
    return text if len(text) <= MAX_LABEL_CHARS else text[: MAX_LABEL_CHARS - 1] + "…"
