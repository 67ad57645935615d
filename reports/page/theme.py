"""Light and dark: a drawing's colours become CSS variables, and each light colour has a dark one of the same hue.

Drawings are made on white. On dark paper greys and tints are turned over (light becomes dark), while saturated colours, by
which contenders are told apart, keep their hue and are lightened until they stand out. Lightness, chroma and hue are OKLab's
(Ottosson, *A perceptual color space for image processing*, 2020), in which equal steps look equal.
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
"""Elements of a drawing that a page has no use for."""
DARK_PAPER = "#14171a"
LARGEST = 1.2
"""How much larger than it was made a drawing becomes in a wide place: so that its letters stay those of the page."""
PAPER, INK = 0.20, 1.05
"""Lightness of what is white on a light page, and of what is black there, which is as light as can be."""
SATURATED = 0.11
"""Chroma from which a colour is one that tells contenders apart; below, it is the nearer to grey the lower."""
LIFTED = 0.68
"""Lightness that a saturated colour has at least, on dark paper."""


def dark(colour: str) -> str:
    """The colour (``#rrggbb``) that takes the place of a light page's colour on dark paper."""
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
    """Declarations of the variables of these colours, in one scheme."""
    found = sorted({colour.lower() for colour in colours})
    return " ".join(f"{variable(colour)}: {dark(colour) if is_dark else colour};" for colour in found)


def inline_svg(drawn: str, prefix: str) -> tuple[str, set[str]]:
    """A drawing for a page, and the colours that it uses.

    Its names (``id``) begin with ``prefix``, so that drawings share none; its colours are variables, its numbers have two
    decimals, it is as wide as its place; a program that reads the page aloud skips it, since its text alternative stands
    beside it.
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
