"""Entry point of the command ``prune-or-search``: imports nothing at first, so Ctrl-C is quiet from the start."""

from __future__ import annotations

from typing import NoReturn

from harness.console.guard import quick_interrupt


def main() -> NoReturn:
    """Run the command line of :mod:`harness.cli`."""
    with quick_interrupt():
        from harness import cli
    cli.main()


if __name__ == "__main__":
    main()
