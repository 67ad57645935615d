"""Errors of the reports: the given folder is not a study, or something else is where the report should go."""

from __future__ import annotations


class NotAStudy(ValueError):
    """The folder has no readable ``study.yaml`` or no ledger. One line: what was given, what is expected."""


class NotReplaceable(ValueError):
    """Something other than an earlier report is where the report should go."""
