"""A bucket with what a study needs: files that are written once and never changed.

An object is written completely or not at all. An existing object is left; different content for its key is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pyarrow import fs

from harness.config.store import OPTIONS
from harness.errors import InputError, one_line

KEY = "store.url"
CONNECT_S, REQUEST_S = 10.0, 60.0
CHUNK = 1 << 20
OPENING = 1 << 14
"""Bytes that hold the first line of a segment."""


class StoreConflict(OSError):
    """The key already has different content."""


class ObjectStore:
    """The folder in a bucket that a URL names; failed reads and writes raise ``OSError``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = _opened(url)

    def check(self, study: Path | None = None) -> None:
        """``InputError`` if the bucket cannot be reached, does not exist, may not be listed, or is in the study's folder."""
        is_here = urlsplit(self.url).scheme == "file"
        if is_here and study is not None and Path(self._root).resolve().is_relative_to(study.resolve()):
            raise InputError(
                f"{KEY}: {self.url} is in the study's own folder, which is copied there; name another place"
            )
        bucket = "" if is_here else self._root.partition("/")[0]
        try:
            if bucket and self._files.get_file_info(bucket).type == fs.FileType.NotFound:
                raise InputError(f"{KEY}: {self.url} given; there is no bucket {bucket}")
            self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        except OSError as error:
            raise InputError(f"{KEY}: {self.url} cannot be used: {one_line(error)}") from None

    def check_owner(self, ledger: str | None) -> None:
        """``InputError`` if the place has segments of another ledger than this (None: the study has none yet)."""
        selector = fs.FileSelector(f"{self._root}/ledger", allow_not_found=True)
        found = [info.path for info in self._files.get_file_info(selector) if info.type == fs.FileType.File]
        if not found:
            return
        with self._files.open_input_stream(min(found)) as stream:
            first, _, _ = bytes(stream.read(OPENING)).partition(b"\n")
        try:
            owner = json.loads(first)["ledger"]
        except (ValueError, KeyError, TypeError):  # of an older version
            return
        if owner != ledger:
            raise InputError(
                f"{KEY}: {self.url} has the copies of another study; give each study a URL of its own. To get a study back, "
                "copy them to its folder first"
            )

    def put(self, source: Path, key: str, length: int | None = None) -> str:
        """Copy a file (or its first ``length`` bytes) to ``key`` unless it is there; returns the content's SHA-256.

        Raises:
            StoreConflict: the key already has different content.

        """
        digest = sha256_of(source, length)
        place = f"{self._root}/{key}"
        there = self._files.get_file_info(place)
        if there.type != fs.FileType.NotFound:
            if self._sha256(place) != digest:
                raise StoreConflict(f"{self.url}/{key} has another content; it is left as it is")
            return digest
        if urlsplit(self.url).scheme == "file":
            self._files.create_dir(place.rpartition("/")[0], recursive=True)
            self._write(source, f"{place}.part", length)
            self._files.move(f"{place}.part", place)
        else:
            self._write(source, place, length)
        return digest

    def get(self, key: str) -> bytes:
        """The content under a key."""
        with self._files.open_input_stream(f"{self._root}/{key}") as stream:
            return bytes(stream.read())

    def names(self) -> list[str]:
        """All keys, sorted."""
        selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
        found = self._files.get_file_info(selector)
        return sorted(info.path.removeprefix(f"{self._root}/") for info in found if info.type == fs.FileType.File)

    def _write(self, source: Path, place: str, length: int | None) -> None:
        left = source.stat().st_size if length is None else length
        with source.open("rb") as file, self._files.open_output_stream(place) as stream:
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                stream.write(chunk)
                left -= len(chunk)

    def _sha256(self, place: str) -> str:
        found = hashlib.sha256()
        with self._files.open_input_stream(place) as stream:
            while chunk := stream.read(CHUNK):
                found.update(chunk)
        return found.hexdigest()


def sha256_of(source: Path, length: int | None = None) -> str:
    """The SHA-256 of a file, or of its first ``length`` bytes, as hex digits."""
    found, left = hashlib.sha256(), source.stat().st_size if length is None else length
    with source.open("rb") as file:
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            found.update(chunk)
            left -= len(chunk)
    return found.hexdigest()


def _opened(url: str) -> tuple[fs.FileSystem, str]:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    root = (parts.netloc + parts.path).rstrip("/")
    try:
        if parts.scheme == "s3":
            return _s3(options), root
        if parts.scheme == "gs":
            return _gs(options), root
        return fs.LocalFileSystem(), parts.path.rstrip("/")
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise InputError(f"{KEY}: {url} cannot be used: {one_line(error)}") from None


def _s3(options: Mapping[str, str]) -> fs.S3FileSystem:
    return fs.S3FileSystem(
        **{name: options[name] for name in OPTIONS["s3"] if name in options},
        connect_timeout=CONNECT_S,
        request_timeout=REQUEST_S,
    )


def _gs(options: Mapping[str, str]) -> fs.GcsFileSystem:
    return fs.GcsFileSystem(
        anonymous=options.get("anonymous") == "true",
        scheme=options.get("scheme", "https"),
        endpoint_override=options.get("endpoint_override"),
        retry_time_limit=timedelta(seconds=REQUEST_S),
    )
