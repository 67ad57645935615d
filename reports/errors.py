"""What goes wrong at the border of the reports: the folder given is not a study, or the report's place is taken."""

from __future__ import annotations


class NotAStudy(ValueError):
    """The folder has no readable ``study.yaml`` or no ledger. One line: what was given, what is expected."""


class NotReplaceable(ValueError):
    """Something that is not an earlier report is where the report should be."""
