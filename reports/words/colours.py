"""One colour per route and one marker per kind of network, in every figure: Okabe and Ito's colour-blind-safe set.

Other things have colours from Paul Tol's sets (layer roles: muted; pruning criteria: light), so they are never mistaken for
routes.
"""

from __future__ import annotations

from dataclasses import dataclass

from accounting.words.names import CONTROLS, PRUNE, ROUTES, control_of, method_of, route_of, without_method, words_of

ROUTE_COLOURS = {name: words.colour for name, words in ROUTES.items() if words.colour is not None}
LABEL_MARKERS = {name: words.marker for name, words in ROUTES.items()} | {kind.label: kind.marker for kind in CONTROLS}
HOLLOW_LABELS = tuple(control.label for control in CONTROLS if control.is_hollow)
SCHEDULE_MARKERS = {"one_shot": "o", "iterative": "s", "gradual": "D"}
ROLE_COLOURS = {
    "stem": "#332288",
    "expand": "#88CCEE",
    "depthwise": "#117733",
    "project": "#DDCC77",
    "se": "#CC6677",
    "head": "#882255",
    "classifier": "#AA4499",
    "other": "#999999",
}
"""Colours of layer roles, in the order in which roles occur in a network."""
CRITERION_COLOURS = {
    "magnitude": "#EE8866",
    "lamp": "#77AADD",
    "macs_magnitude": "#AAAA00",
    "taylor": "#44BB99",
    "random": "#BBBBBB",
}
SPARE_COLOURS = ("#F0E442", "#000000")
"""Colours for routes that name none; no packaged route has one of these."""
INK = "#222222"
GRID = "#dddddd"


@dataclass(frozen=True)
class Look:
    """How a contender or kind of network is drawn everywhere: its colour, its marker, and whether that is hollow."""

    colour: str
    marker: str
    is_hollow: bool = False

    @property
    def face(self) -> str:
        """The fill colour of the marker."""
        return "#ffffff" if self.is_hollow else self.colour


def look_of(label: str, route: str | None = None) -> Look:
    """The look of a label; ``route`` is the route of the network, if the label alone does not say so.

    A single method of the prune route has its criterion's colour; a method of another route has that route's. Its marker
    shows its schedule, and is hollow if the network is physically smaller.
    """
    method = method_of(label)
    if method is not None:
        of = route or without_method(label)
        colour = criterion_colour(method.criterion) if of == PRUNE else route_colour(of)
        return Look(colour, SCHEDULE_MARKERS.get(method.schedule, "o"), method.is_structured)
    control = control_of(label)
    return Look(route_colour(route or route_of(label)), label_marker(label), control is not None and control.is_hollow)


def route_colour(route: str) -> str:
    """The colour of a route; a route without one of its own gets a spare that depends on its name alone."""
    return words_of(route).colour or SPARE_COLOURS[sum(route.encode()) % len(SPARE_COLOURS)]


def label_marker(label: str) -> str:
    """The marker of a kind of delivered network."""
    control = control_of(label)
    return words_of(label).marker if control is None else control.marker


def criterion_colour(criterion: str) -> str:
    """The colour of a pruning criterion; one without its own gets a spare that depends on its name alone."""
    return CRITERION_COLOURS.get(criterion) or SPARE_COLOURS[sum(criterion.encode()) % len(SPARE_COLOURS)]


def role_colour(role: str) -> str:
    """The colour of a layer role."""
    return ROLE_COLOURS.get(role, ROLE_COLOURS["other"])


def role_rank(role: str) -> int:
    """Sort key for layer roles: the order in which they occur in a network, unknown ones last."""
    known = list(ROLE_COLOURS)
    return known.index(role) if role in known else len(known)


def tint(colour: str, share: float) -> tuple[float, float, float]:
    """The colour mixed with white; ``share`` 1 is the colour itself, 0 white."""
    from matplotlib.colors import to_rgb  # tables use names and ranks from here without drawing

    red, green, blue = (1 - share * (1 - channel) for channel in to_rgb(colour))
    return red, green, blue
