"""Any image file as 8-bit RGB: one decoder, so that every dataset shows a network the same picture for the same file.

16-bit grey is scaled by 1/257, to look like its 8-bit version; Pillow's own conversion clips it to white. A TIFF file
may have 12 bits, or 0 as white; both are respected. Transparency is dropped, palettes and CMYK are converted, an
animation gives its first frame, and the EXIF orientation is not applied (as in timm and torchvision). 32-bit integers
and floats are rejected, since they have no defined white, and so are drawings (EPS, WMF), which are programs.
"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

UNDEFINED_RANGE = ("I", "F")
"""Pillow's modes of 32-bit integers and floats."""
SIXTEEN_BITS_AS_I = ("PNG", "PPM")
"""Formats that Pillow may open in mode I although their white is 65535."""
NOT_PIXELS = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "IPTC"})
"""Formats that Pillow lists as images but cannot decode by itself."""


class NotAnImage(ValueError):
    """A file that cannot be used as an image; the message is the reason, without the file's name."""


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB, 8 bits per channel.

    Raises:
        NotAnImage: the mode has no defined white.

    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and getattr(image, "format", None) in SIXTEEN_BITS_AS_I):
        white, is_inverted = white_of(image)
        wide = np.asarray(image).clip(0, white).astype(np.uint32)
        grey = ((wide * 255 + white // 2) // white).astype(np.uint8)
        return Image.fromarray(255 - grey if is_inverted else grey).convert("RGB")
    if image.mode in UNDEFINED_RANGE:
        raise NotAnImage(f"mode {image.mode} (32 bits) has no defined white; save it with 8 or 16 bits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a palette with transparency, which is dropped on purpose
        return image.convert("RGB")


def white_of(image: Image.Image) -> tuple[int, bool]:
    """The value of white in an image of more than 8 bits of grey, and whether it is inverted, with 0 as white.

    A TIFF file gives both in its tags 258 and 262; Pillow ignores them beyond 8 bits.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, 16)
    return (1 << int(bits[0] if isinstance(bits, tuple) else bits)) - 1, tags.get(262, 1) == 0


def read_rgb(source: Path | bytes, name: str | None = None) -> Image.Image:
    """Decode a whole file, or its bytes. ``name``: see :func:`opened`.

    Raises:
        NotAnImage: it is empty, truncated, damaged, too large to be safe, or in a format that Pillow does not know.

    """
    with opened(source, name) as image:
        try:
            image.load()
            return to_rgb(image)
        except NotAnImage:
            raise
        except Exception as error:  # Pillow's decoders raise many types: OSError, SyntaxError, struct.error, …
            raise NotAnImage(f"cannot be decoded ({type(error).__name__})") from error


def opened(source: Path | bytes, name: str | None = None) -> Image.Image:
    """An image of which only the header has been read.

    Formats without a signature at the start of the file (TGA and a few others) are accepted only if the name's
    extension fits, since other files would pass for them.

    Raises:
        NotAnImage: see :func:`read_rgb`.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            formats = _formats(Path(name if name is not None else "" if isinstance(source, bytes) else source).suffix)
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
    except UnidentifiedImageError as error:
        raise NotAnImage("not in an image format that Pillow knows") from error
    except Image.DecompressionBombError as error:
        raise NotAnImage("larger than is safe to decode") from error
    except Exception as error:  # as in read_rgb
        raise NotAnImage(f"cannot be opened ({type(error).__name__})") from error
    if image.mode in UNDEFINED_RANGE and not (image.mode == "I" and image.format in SIXTEEN_BITS_AS_I):
        mode = image.mode
        image.close()
        raise NotAnImage(f"mode {mode} (32 bits) has no defined white; save it with 8 or 16 bits")
    return image


@lru_cache
def _formats(ending: str) -> tuple[str, ...]:
    """The Pillow formats that a file with this extension may have; Pillow's table does not change."""
    Image.init()
    by_ending = Image.registered_extensions().get(ending.lower())
    return tuple(
        name
        for name, (_, accepts) in Image.OPEN.items()
        if name not in NOT_PIXELS and (accepts is not None or name == by_ending)
    )
