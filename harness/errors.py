"""The two ways a command can end badly, each with one clear line for the user."""

from accounting.plain_text import one_line, typed_line

__all__ = ["InputError", "StudyFailed", "one_line", "typed_line"]


class InputError(ValueError):
    """The input is wrong (exit code 2): says what was given, what is allowed and what to do."""


class StudyFailed(RuntimeError):
    """The study could not finish (exit code 1)."""
