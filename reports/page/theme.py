"""Light and dark schemes: a drawing's colours become CSS variables, and each light colour gets a dark one of equal hue.

Drawings are made on white. On a dark background, greys and tints are inverted (light becomes dark). Saturated colours, which
distinguish contenders, keep their hue and are lightened until they have enough contrast. Lightness, chroma and hue are those
of OKLab (Ottosson, *A perceptual color space for image processing*, 2020), in which equal steps look equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
HEX = re.compile(r"#([0-9a-fA-F]{6})\b")
LONG_NUMBER = re.compile(r"\d+\.\d{3,}")
LEFT_OUT = {"metadata", "style", "script"}
"""Elements of a drawing that the page does not need."""
DARK_PAPER = "#14171a"
LARGEST = 1.2
"""How much a drawing may be enlarged on a wide screen, so that its letters keep the size of the page's."""
PAPER, INK = 0.20, 1.05
"""Lightness in the dark scheme of colours that are white and black on a light page."""
SATURATED = 0.11
"""Chroma from which a colour counts as saturated; the lower it is, the more it is treated as grey."""
LIFTED = 0.68
"""Least lightness of a saturated colour on a dark background."""


def dark(colour: str) -> str:
    """The dark scheme's counterpart of a colour (``#rrggbb``)."""
    if colour.lower() == "#ffffff":
        return DARK_PAPER
    lightness, a, b = _to_oklab(colour)
    share = min(1.0, math.hypot(a, b) / SATURATED)
    turned = INK - (INK - PAPER) * lightness
    return _to_hex((1 - share) * min(turned, 1.0) + share * max(lightness, LIFTED), a, b)


def variable(colour: str) -> str:
    """The CSS variable of a colour."""
    return f"--c{colour[1:].lower()}"


def palette(colours: Iterable[str], *, is_dark: bool) -> str:
    """CSS declarations of these colours' variables, in one scheme."""
    found = sorted({colour.lower() for colour in colours})
    return " ".join(f"{variable(colour)}: {dark(colour) if is_dark else colour};" for colour in found)


def inline_svg(drawn: str, prefix: str) -> tuple[str, set[str]]:
    """A drawing for the page, and the colours that it uses.

    Its ids begin with ``prefix``, so that drawings share none. Its colours are variables, its numbers have two decimals, and
    it is as wide as its container. Screen readers skip it, because they read its text alternative.
    """
    root = ElementTree.fromstring(drawn)
    colours: set[str] = set()
    _clean(root, prefix, colours)
    width_pt = float(root.get("width", "0").removesuffix("pt") or 0)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    if width_pt > 0:
        root.set("style", f"max-width: {LARGEST * width_pt:.0f}pt")
    root.set("aria-hidden", "true")
    root.set("focusable", "false")
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False), colours


def _clean(element: ElementTree.Element, prefix: str, colours: set[str]) -> None:
    element.tag = element.tag.removeprefix(SVG)
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag.removeprefix(SVG) in LEFT_OUT:
            element.remove(child)
        else:
            _clean(child, prefix, colours)
    for name in list(element.attrib):
        value = element.attrib.pop(name)
        if name == HREF or name == "href":
            element.set("href", f"#{prefix}-{value[1:]}" if value.startswith("#") else value)
        elif name == "id":
            element.set("id", f"{prefix}-{value}")
        elif not name.startswith(("{", "on")):
            named = value.replace("url(#", f"url(#{prefix}-")
            element.set(name, _themed(LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", named), colours))


def _themed(value: str, colours: set[str]) -> str:
    colours.update(f"#{found.lower()}" for found in HEX.findall(value))
    return HEX.sub(lambda found: f"var({variable(found[0])})", value)


def _to_oklab(colour: str) -> tuple[float, float, float]:
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    middle = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _to_hex(lightness: float, a: float, b: float) -> str:
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    channels = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(1.0, max(0.0, channel)))):02x}" for channel in channels)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _gamma(channel: float) -> float:
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
