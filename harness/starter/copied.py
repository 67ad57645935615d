"""``init --study``: copies a packaged study, unchanged, to a file of the user's."""

from __future__ import annotations

from pathlib import Path

from harness.config.shipped import shipped_text
from harness.console.terminal import say
from harness.errors import InputError
from harness.starter.new_file import write_new


def copy_study(name: str, out: Path | None, beside: list[str]) -> None:
    """Write the study to ``out`` (None: ``<name>.yaml``) and say so.

    Raises:
        InputError: there is no such study, other options (``beside``) are given too, or the file exists.

    """
    if beside:
        raise InputError(f"init: --study {name} is copied as it is; leave out {' and '.join(beside)}")
    text = shipped_text(name)
    out = out or Path(f"{name}.yaml")
    write_new(out, text)
    say(f"{out} is written; `prune-or-search plan {out}` says what it would cost")
