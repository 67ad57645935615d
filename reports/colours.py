"""One colour per route and one marker per kind of network, in every figure. Okabe and Ito's colour-blind-safe set."""

from __future__ import annotations

from matplotlib.colors import to_rgb

ROUTE_COLOURS = {"search": "#0072B2", "prune": "#D55E00", "scratch": "#009E73"}
LABEL_MARKERS = {"search": "s", "prune": "o", "scratch_family": "^", "scratch_pruned_structure": "v"}
SPARE_COLOURS = ("#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK = "#222222"
GRID = "#dddddd"


def route_colour(route: str) -> str:
    """The colour of a route; a route without one of its own gets a spare that depends on its name alone."""
    return ROUTE_COLOURS.get(route) or SPARE_COLOURS[sum(route.encode()) % len(SPARE_COLOURS)]


def label_marker(label: str) -> str:
    """The marker of a kind of delivered network."""
    return LABEL_MARKERS.get(label, "D")


def tint(colour: str, share: float) -> tuple[float, float, float]:
    """The colour mixed with white; ``share`` 1 is the colour itself, 0 white."""
    red, green, blue = (1 - share * (1 - channel) for channel in to_rgb(colour))
    return red, green, blue
