"""The two ways a command can end badly, each with one clear line for the user."""

from accounting.words.plain_text import one_line, typed_line

__all__ = ["InputError", "StudyFailed", "one_line", "typed_line"]


class InputError(ValueError):
    """The input is wrong (exit code 2): says what was given, what is allowed and what to do, a line for each problem."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class StudyFailed(RuntimeError):
    """The study could not finish (exit code 1)."""

    is_told = False
    """Whether its line is on the terminal already."""
