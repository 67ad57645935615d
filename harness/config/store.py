"""Where copies of a study are kept: the section ``store``."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator

from harness.config.section import Strict

SCHEMES = ("s3", "gs", "file")
TRUTHS = ("true", "false")
EXAMPLES = "s3://bucket/studies, gs://bucket/studies or file:///mnt/archive"
OPTIONS = {"s3": ("region", "endpoint_override", "scheme"), "gs": ("endpoint_override", "scheme", "anonymous")}
"""Options allowed after the question mark of a URL, by scheme."""


class StoreConfig(Strict):
    """A bucket that takes copies of what is final; the study itself stays in its folder."""

    url: str = Field(min_length=1, max_length=1000)
    """The place, as ``s3://bucket/studies/mine``, ``gs://…`` or ``file:///mnt/archive``; each study has one of its own. S3
    takes ``?region=…`` and ``?endpoint_override=host:port&scheme=http``, ``gs://`` takes the latter and ``?anonymous=true``;
    credentials are those of the environment."""
    checkpoints: bool = False
    """Whether weights and masks of every job that is done are copied, too, and not the delivered networks alone."""

    @field_validator("url")
    @classmethod
    def _can_be(cls, value: str) -> str:
        if (problem := url_problem(value)) is not None:
            raise ValueError(problem)
        return value


def url_problem(url: str) -> str | None:
    """What is wrong with a URL; None if it can name a place in a bucket."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        return f"{url!r} given; allowed is {EXAMPLES}"
    if parts.username or parts.password:
        return (
            "a URL with a name or password in it; give them as the bucket's own tools read them (environment, profile)"
        )
    if parts.scheme == "file" and (parts.netloc or not parts.path.strip("/")):
        return f"{url!r} given; a folder is written with three slashes, as file:///mnt/archive"
    if parts.scheme != "file" and not parts.netloc:
        return f"{url!r} names no bucket; allowed is {EXAMPLES}"
    if parts.fragment or "%" in parts.path:
        return f"{url!r} given; write the place as it is called, without # and without %-escapes"
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    given, allowed = dict(pairs), OPTIONS.get(parts.scheme, ())
    if odd := next((name for name, value in pairs if not value or [n for n, _ in pairs].count(name) > 1), None):
        return f"option {odd!r} in {url!r} is empty or given twice; give each one value"
    unknown = sorted(given.keys() - set(allowed))
    if unknown:
        return f"unknown option {unknown[0]!r} in {url!r}; {parts.scheme} has {', '.join(allowed) or 'none'}"
    if given.get("anonymous", "true") not in TRUTHS:
        return f"anonymous={given['anonymous']} in {url!r}; allowed is {' or '.join(TRUTHS)}"
    return None
