"""Prepares a study's folder: locks it for one driver, and checks that nothing blocks what will be written there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from accounting.ledger import driver_lock
from accounting.ledger.index import segments_in
from accounting.study.folder import StudyFolder
from harness.errors import InputError, one_line


def refuse_second_driver(paths: StudyFolder) -> None:
    """``InputError`` if another driver is working in the folder; nothing is created."""
    driver = driver_lock.find_driver(paths.lock)
    if driver.life is driver_lock.Life.ALIVE:
        raise _in_use(paths, driver.where)


State = tuple[bytes, frozenset[str]]


def state_of(paths: StudyFolder) -> State:
    """What every run in a folder changes: its ``study.yaml`` and the names of its drivers' ledger segments."""
    text = paths.config.read_bytes() if paths.config.is_file() else b""
    return text, frozenset(path.name for path in segments_in(paths.ledger) if "-driver-" in path.name)


@contextmanager
def locked(paths: StudyFolder, seen: State) -> Iterator[None]:
    """Lock the folder for one driver while the block runs; if the block writes no study, no new folder is left behind.

    Raises:
        InputError: another driver holds the folder, one has run since the folder was ``seen`` (decisions made then may
            no longer be valid), or the folder cannot be written to.

    """
    made = [folder for folder in (paths.root, *paths.root.parents) if not folder.exists()]
    with ExitStack() as stack:
        try:
            paths.root.mkdir(parents=True, exist_ok=True)
            stack.enter_context(driver_lock.held(paths.lock))
        except driver_lock.Locked as error:
            raise _in_use(paths, str(error)) from None
        except OSError as error:
            _remove_empty(made)
            raise InputError(
                f"{paths.root} cannot be written to ({error.strerror}); name another folder with --out"
            ) from None
        try:
            if state_of(paths) != seen:
                raise InputError(
                    f"{paths.root}: another run has worked there in the meantime; run the same command again"
                )
            yield
        finally:
            if not paths.config.exists():
                paths.lock.unlink(missing_ok=True)
                _remove_empty(made)


def check_places(paths: StudyFolder) -> None:
    """``InputError`` if a path that the study needs is taken, as by a file named ``report``, or is no text for libraries."""
    try:
        str(paths.root).encode()
    except UnicodeEncodeError:
        raise InputError(f"{one_line(str(paths.root))} is not UTF-8; name another folder with --out") from None
    for folder in (paths.ledger, paths.checkpoints, paths.models, paths.plans, paths.tune, paths.report):
        if folder.is_symlink() and not folder.exists():
            raise InputError(f"{folder} is a link to nothing; a study needs a folder there: remove the link")
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; a study needs a folder there: move the file away")
    if paths.config.exists() and not paths.config.is_file():
        raise InputError(f"{paths.config} is not a file; move it away, or name another folder with --out")


def check_apart(paths: StudyFolder, data: str | None, parts: Sequence[str]) -> None:
    """``InputError`` if the study would be in one of the ``parts`` of the folder ``data``, and be taken for images."""
    for part in parts if data is not None else ():
        if paths.root.is_relative_to((Path(str(data)) / part).resolve()):
            raise InputError(
                f"{paths.root} is among the images of dataset.path ({part}/); name another folder with --out"
            )


def _in_use(paths: StudyFolder, where: str) -> InputError:
    by = f"another run ({where})" if where else "another run"
    return InputError(f"{paths.root} is in use by {by}; wait for it or name another folder")


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
