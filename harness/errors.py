"""The two ways a command can end badly, each with one clear line for the user; and disks that take nothing more."""

import errno

from accounting.words.plain_text import one_line, typed_line

__all__ = ["InputError", "StudyFailed", "disk_problem", "one_line", "typed_line"]

NO_ROOM = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "a file would become larger than allowed here (see ulimit -f)",
    errno.EROFS: "the file system is read-only",
}
"""Errors of the operating system after which no file of a study can be written, in words."""


def disk_problem(error: BaseException | None) -> str | None:
    """Why no file can be written any more, where that is what an exception, or what it came from, says; else None.

    Libraries tell it as text: safetensors as ``I/O error: No space left on device (os error 28)``.
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
    """The input is wrong (exit code 2): says what was given, what is allowed and what to do, a line for each problem."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class StudyFailed(RuntimeError):
    """The study could not finish (exit code 1)."""

    is_told = False
    """Whether its line is on the terminal already."""
