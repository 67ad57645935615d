"""Where the command ``prune-or-search`` begins: before anything is imported, so that Ctrl-C is quiet at once."""

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
