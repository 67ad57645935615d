"""The mark shown with a contender's name: its colour and marker in every figure."""

from __future__ import annotations

from dataclasses import dataclass

from reports.words.colours import look_of

SHAPES = {
    "o": "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z",
    "s": "M2.5 2.5h11v11h-11z",
    "D": "M8 1l7 7l-7 7l-7-7z",
    "d": "M8 1l5 7l-5 7l-5-7z",
    "^": "M8 2l7 12h-14z",
    "v": "M8 14l7-12h-14z",
    "<": "M2 8l12-7v14z",
    ">": "M14 8l-12-7v14z",
    "P": "M5.5 1h5v4.5h4.5v5h-4.5v4.5h-5v-4.5h-4.5v-5h4.5z",
    "X": "M4 1l4 4l4-4l3 3l-4 4l4 4l-3 3l-4-4l-4 4l-3-3l4-4l-4-4z",
}
"""SVG paths in a 16 × 16 square, by Matplotlib's marker names."""


@dataclass(frozen=True)
class Mark:
    """A shape in a colour (``#rrggbb``), hollow or filled."""

    path: str
    colour: str
    is_hollow: bool


def mark_of(label: str, route: str | None = None) -> Mark:
    """The mark of a contender, by its label."""
    look = look_of(label, route)
    return Mark(SHAPES.get(look.marker, SHAPES["D"]), look.colour.lower(), look.is_hollow)
