"""Duplicate images: those in both the test and the training part, and those in two classes.

A test image that is also trained on makes the test accuracy too high; if all are, the accuracy says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]
"""The first eight bytes of a digest of each image's content."""


@dataclass(frozen=True)
class PartImages:
    """Images of a part: the ``digests`` and ``labels`` of all, and a ``name`` for each index."""

    digests: Digests
    labels: NDArray[np.int64]
    name: Callable[[int], str]


def digests_of(contents: Iterable[bytes]) -> Digests:
    """A digest of each content."""
    return as_digests(hashlib.blake2b(content, digest_size=8).digest() for content in contents)


def as_digests(short: Iterable[bytes]) -> Digests:
    """Digests of eight bytes each, as an array."""
    return np.frombuffer(b"".join(short), dtype="<u8")


def copies(train: PartImages, test: PartImages, *, is_whole: bool = True) -> tuple[str, ...]:
    """Notes on duplicates: a sentence on test images that are also in train, and one on images that two classes share.

    ``is_whole`` False: only the beginnings of large files were compared, and the sentences say so.
    """
    notes = list(trained_on(train, test, "test", is_whole=is_whole))
    pair, count = _in_two_classes([train, test])
    if pair is not None:
        notes.append(
            f"{count:,} images have {_same(is_whole)} an image of another class (such as {pair[0]} and {pair[1]})"
        )
    return tuple(notes)


def trained_on(train: PartImages, other: PartImages, split: str, *, is_whole: bool = True) -> tuple[str, ...]:
    """A sentence on images of another split that are also in train, if there are any."""
    found = np.flatnonzero(np.isin(other.digests, train.digests))
    if not len(found):
        return ()
    twin = int(np.flatnonzero(train.digests == other.digests[found[0]])[0])
    follows = "is too high" if len(found) < len(other.digests) else "says nothing about other images"
    return (
        f"{len(found):,} of {len(other.digests):,} {split} images have {_same(is_whole)} a training image (such as "
        f"{other.name(int(found[0]))} and {train.name(twin)}): the {split} accuracy {follows}",
    )


def _same(is_whole: bool) -> str:
    return "the same bytes as" if is_whole else "the same size and first 64 KiB as"


def _in_two_classes(parts: Sequence[PartImages]) -> tuple[tuple[str, str] | None, int]:
    """Two names as an example, and the number of images that have a duplicate under another label."""
    digests = np.concatenate([part.digests for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    _, groups = np.unique(digests, return_inverse=True)
    low, high = (np.full(groups.max(initial=-1) + 1, fill) for fill in (np.iinfo(np.int64).max, -1))
    np.minimum.at(low, groups, labels)
    np.maximum.at(high, groups, labels)
    torn = np.flatnonzero(low[groups] != high[groups])
    if not len(torn):
        return None, 0
    first = int(torn[0])
    other = next(int(i) for i in torn[1:] if groups[i] == groups[first] and labels[i] != labels[first])
    return (_name(parts, first), _name(parts, other)), len(torn)


def _name(parts: Sequence[PartImages], place: int) -> str:
    for part in parts:
        if place < len(part.digests):
            return part.name(place)
        place -= len(part.digests)
    raise IndexError(place)
