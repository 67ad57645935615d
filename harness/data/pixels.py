"""From any image file to 8-bit RGB: one place, so that every dataset shows a network the same picture of the same file.

16-bit grey is scaled by 1/257, as its 8-bit twin would look; Pillow's own conversion clips it to white. Transparency is
dropped, a palette and CMYK are converted, of an animation the first frame is taken, and the EXIF orientation is not applied
(as in timm and torchvision). 32-bit integers and floats have no defined white, and are refused.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

UNDEFINED_RANGE = ("I", "F")
"""Pillow's modes of 32-bit integers and floats."""


class NotAnImage(ValueError):
    """A file that is not read as an image; the message says why, without the file's name."""


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode RGB, 8 bits a channel.

    Raises:
        NotAnImage: the mode has no defined white.

    """
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in UNDEFINED_RANGE:
        raise NotAnImage(f"mode {image.mode} (32 bits) has no defined white; save it with 8 or 16 bits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a palette with transparency: it is dropped, as the module's text says
        return image.convert("RGB")


def read_rgb(source: Path | bytes) -> Image.Image:
    """Decode a file, or its bytes, wholly.

    Raises:
        NotAnImage: it is empty, cut off, damaged, too large to be safe, or in a format that Pillow does not know.

    """
    with opened(source) as image:
        try:
            image.load()
            return to_rgb(image)
        except NotAnImage:
            raise
        except Exception as error:  # Pillow's decoders raise what they meet: OSError, SyntaxError, struct.error, …
            raise NotAnImage(f"cannot be decoded ({type(error).__name__})") from error


def opened(source: Path | bytes) -> Image.Image:
    """An image of which only the header was read.

    Raises:
        NotAnImage: see :func:`read_rgb`.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except UnidentifiedImageError as error:
        raise NotAnImage("not in an image format that Pillow knows") from error
    except Image.DecompressionBombError as error:
        raise NotAnImage("larger than is safe to decode") from error
    except Exception as error:  # as in read_rgb
        raise NotAnImage(f"cannot be opened ({type(error).__name__})") from error
    if image.mode in UNDEFINED_RANGE:
        mode = image.mode
        image.close()
        raise NotAnImage(f"mode {mode} (32 bits) has no defined white; save it with 8 or 16 bits")
    return image
