"""What goes wrong at the border of the reports: the folder given is not a study."""

from __future__ import annotations


class NotAStudy(ValueError):
    """The folder has no readable ``study.yaml`` or no ledger. One line: what was given, what is expected."""
