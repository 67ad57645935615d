"""The two ways in which a command can fail, each with a clear line for the user; and how to recognise a full disk."""

import errno

from accounting.words.plain_text import one_line, typed_line

__all__ = ["InputError", "StudyFailed", "disk_problem", "one_line", "typed_line"]

NO_ROOM = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "a file would become larger than allowed here (see ulimit -f)",
    errno.EROFS: "the file system is read-only",
}
"""Operating system errors after which no file of a study can be written, in words."""


def disk_problem(error: BaseException | None) -> str | None:
    """Why no more files can be written, if an exception or one of its causes says so; otherwise None.

    Some libraries report it only as text, such as safetensors: ``I/O error: No space left on device (os error 28)``.
    """
    at = error
    seen: list[BaseException] = []
    while at is not None and at not in seen:
        seen.append(at)
        for number, said in NO_ROOM.items():
            if (isinstance(at, OSError) and at.errno == number) or f"(os error {number})" in str(at):
                return said
        at = at.__cause__ or at.__context__
    return None


class InputError(ValueError):
    """Invalid input (exit code 2). One line per problem: what was given, what is allowed, what to do."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class StudyFailed(RuntimeError):
    """The study could not finish (exit code 1)."""

    is_told = False
    """Whether its message has already been printed."""
