"""Plug-ins: one file each, in a folder of the package, in an installed package, or a user's own file named by a study.

Each kind of plug-in has a folder, in which each file is a plug-in with the file's name, and a group of entry points for
installed packages (``prune_or_search.criteria = my_score = "my_package.my_score"``). A study names further files with
``plugins: [path/to/my_score.py]``. What a file provides is read from its source. It is executed only when used, and
only if its content has not changed since it was named. Commands that read a study never name files, and so never
execute any.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import hashlib
import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TypedDict

from accounting.words.plain_text import typed_line

_PREFIX = "prune_or_search_plugin_"
"""Prefix of the module names under which users' files are executed."""
NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_BYTES = 1_000_000


class PluginError(ValueError):
    """A plug-in that cannot be used; the message is one line."""


class Kind(Enum):
    """A kind of plug-in: its folder in the package, the name that it must define, and the word for it in errors."""

    CRITERION = ("pruning.criteria", "Criterion", "criterion")
    STRATEGY = ("nas_baseline.strategies", "Strategy", "strategy")
    DATASET = ("harness.data", "Dataset", "dataset")
    ROUTE = ("harness.routes", "Route", "route")
    FIGURE = ("reports.figures", "draw", "figure")
    LOGGER = ("harness.loggers", "Logger", "logger")

    @property
    def package(self) -> str:
        """The folder of the plug-ins that come with the package."""
        return self.value[0]

    @property
    def defines(self) -> str:
        """The class or function at the top level of a file that makes it a plug-in of this kind."""
        return self.value[1]

    @property
    def word(self) -> str:
        """The word for it in errors."""
        return self.value[2]

    @property
    def group(self) -> str:
        """The group of entry points for installed packages."""
        return f"prune_or_search.{self.package.rpartition('.')[2]}"


class PluginRecord(TypedDict):
    """A :class:`PluginFile` as JSON."""

    name: str
    path: str
    sha256: str
    kinds: list[str]


@dataclass(frozen=True)
class PluginFile:
    """A file that a study names: ``name`` is its stem, ``kinds`` what it provides, ``sha256`` its content's hash."""

    name: str
    path: str
    sha256: str
    kinds: tuple[Kind, ...]

    def as_dict(self) -> PluginRecord:
        """JSON-able; :meth:`from_dict` reads it."""
        return {
            "name": self.name,
            "path": self.path,
            "sha256": self.sha256,
            "kinds": [kind.name for kind in self.kinds],
        }

    @staticmethod
    def from_dict(fields: PluginRecord) -> PluginFile:
        """Read what :meth:`as_dict` returned."""
        kinds = tuple(Kind[name] for name in fields["kinds"])
        return PluginFile(fields["name"], fields["path"], fields["sha256"], kinds)

    @property
    def text(self) -> str:
        """The description shown before it is executed."""
        return f"{self.path} ({', '.join(kind.word for kind in self.kinds)} {self.name}, SHA-256 {self.sha256[:12]})"


def read_plugin(path: Path) -> PluginFile:
    """What a file provides, from its source alone; none of it is executed.

    Raises:
        PluginError: it cannot be read, is not Python, defines no plug-in, or has a name that cannot be a key.

    """
    source = _source(path)
    if not NAME.fullmatch(path.stem):
        raise PluginError(f"plug-in {path}: its file name is its name; use lower-case letters, digits and _")
    try:
        tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise PluginError(f"plug-in {path}{line}: not Python: {getattr(error, 'msg', error)}") from None
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    kinds = tuple(kind for kind in Kind if kind.defines in defined)
    if not kinds:
        allowed = ", ".join(f"{kind.defines} ({kind.word})" for kind in Kind)
        raise PluginError(f"plug-in {path}: defines none of {allowed} at its top level")
    return PluginFile(path.stem, str(path), hashlib.sha256(source).hexdigest(), kinds)


class _Registry:
    """The current study's files; one registry per process, as names in a config can be looked up nowhere else.

    It is replaced whole wherever a config is read, a study begins, or a worker takes a job, so no study has the files
    of the one before.
    """

    def __init__(self) -> None:
        self.files: tuple[PluginFile, ...] = ()

    def of(self, kind: Kind) -> dict[str, PluginFile]:
        return {file.name: file for file in self.files if kind in file.kinds}


_registry = _Registry()


def use(files: Sequence[PluginFile]) -> None:
    """Replace the set of users' files in which the names in configs are looked up.

    Raises:
        PluginError: two files have the same name, or one has the name of an existing plug-in.

    """
    for kind in Kind:
        names = [file.name for file in files if kind in file.kinds]
        taken = sorted({name for name in names if names.count(name) > 1 or name in _installed(kind)})
        if taken:
            raise PluginError(f"plug-in {taken[0]}.py: there is a {kind.word} {taken[0]!r} already; rename the file")
    _registry.files = tuple(files)


def in_use() -> tuple[PluginFile, ...]:
    """The files last passed to :func:`use`."""
    return _registry.files


def file_of(kind: Kind, name: str) -> PluginFile | None:
    """The user's own file that provides a plug-in of this name; None if a package provides it, or nothing does."""
    return _registry.of(kind).get(name)


def names(kind: Kind) -> list[str]:
    """The names that a config may use, sorted; nothing is executed."""
    return sorted({*_installed(kind), *_registry.of(kind)})


def packaged(kind: Kind) -> list[str]:
    """The names of the plug-ins that come with the package, sorted; nothing is executed."""
    return sorted(_in_folder(kind))


def load(kind: Kind, name: str) -> ModuleType:
    """The module of a plug-in, executed once.

    Raises:
        PluginError: there is no such name (the message has the nearest and all allowed ones), or a file has changed or
            fails when executed.

    """
    if (file := _registry.of(kind).get(name)) is not None:
        return _execute(file)
    home = _installed(kind).get(name)
    if home is None:
        raise PluginError(unknown(kind.word, name, names(kind)))
    try:
        return importlib.import_module(home)
    except Exception as error:
        if home.startswith(f"{kind.package}."):
            raise
        raise PluginError(f"{kind.word} {name!r} of {home} fails: {type(error).__name__}: {error}") from error


def option_problems(owner: str, taken: type, given: Mapping[str, object]) -> list[tuple[str | None, str]]:
    """Problems with a plug-in's options, as (option, what is wrong and what is allowed); None for their combination.

    ``taken`` is the plug-in's dataclass ``Options``, whose fields have defaults; ``owner`` begins each message.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(taken)}
    found: list[tuple[str | None, str]] = []
    for key, value in given.items():
        kind = type(defaults.get(key))
        if key not in defaults:
            near = difflib.get_close_matches(str(key), defaults, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ";"
            found.append((key, f"{owner} has no option '{key}'{hint} allowed: {', '.join(defaults) or 'none'}"))
        elif type(value) is not kind and not (kind is float and type(value) is int):
            example = "" if defaults[key] == "" else f", such as {defaults[key]!r}"
            allowed = f"{_KINDS.get(kind, kind.__name__)} is allowed{example}"
            found.append((key, f"{owner}: {key} is {value!r}; {allowed}"))
    if not found:
        try:
            taken(**given)
        except ValueError as error:
            named = [key for key in given if key in str(error)]
            found.append((named[0] if named else None, f"{owner}: {error}"))
    return found


def fault(error: BaseException) -> str | None:
    """A message for an exception that a user's own file raised and would raise again; None for any other exception.

    The message is one line with file, line and exception. What may pass by itself (:func:`may_pass`) gives None.
    """
    if isinstance(error, PluginError) and error.__cause__ is not None:  # its file failed when it was executed
        return None if may_pass(error.__cause__) else str(error)
    frame = _own_frame(error)
    if frame is None or not isinstance(error, (Exception, SystemExit)) or may_pass(error):
        return None
    return f"plug-in {frame[0]}, line {frame[1]}, fails: {typed_line(error)}"


def may_pass(error: BaseException) -> bool:
    """Whether the same call may succeed another time: a lack of memory or disk, a device or a network that fails.

    Exceptions of unknown kinds count as such, since a user's library may mean anything by them.
    """
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__
    if any(
        isinstance(each, (OSError, MemoryError)) or _PASSES.search(f"{type(each).__name__}: {each}") for each in chain
    ):
        return True
    return not isinstance(error, _COMES_AGAIN) and not type(error).__module__.startswith(_PREFIX)


def line_text(error: BaseException) -> str:
    """``", line 12"``: where in a user's own file an exception was raised; empty if it was raised elsewhere."""
    frame = _own_frame(error)
    return "" if frame is None else f", line {frame[1]}"


_COMES_AGAIN = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, RuntimeError, StopIteration,
    SyntaxError, SystemExit, TypeError, ValueError,
)  # fmt: skip
_PASSES = re.compile(
    r"OutOfMemory|out of memory|can't allocate memory|CUDA error|CUDNN_STATUS|NCCL|AcceleratorError|DataLoader worker \(pid"
)
"""How torch reports problems with memory, devices and processes, in exceptions that are RuntimeErrors."""


def _own_frame(error: BaseException) -> tuple[str, int] | None:
    """(file, line) of the innermost frame of a user's own file that an exception passed through."""
    found = None
    at = error.__traceback__
    while at is not None:
        if str(at.tb_frame.f_globals.get("__name__", "")).startswith(_PREFIX):
            found = at.tb_frame.f_code.co_filename, at.tb_lineno
        at = at.tb_next
    if found is not None:
        return found
    for file in in_use():  # a DataLoader's worker process reports its traceback as text
        if place := re.search(rf'File "{re.escape(file.path)}", line (\d+)', str(error)):
            return file.path, int(place[1])
    return None


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}


def unknown(word: str, name: str, allowed: Sequence[str]) -> str:
    """One line about an unknown name, with the nearest one and all that are allowed."""
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {word} {name!r}{hint}; allowed: {', '.join(allowed) or 'none'}"


@functools.cache
def _installed(kind: Kind) -> dict[str, str]:
    """Modules by name: those in the package's folder, and entry points of installed packages.

    Remembered, since what is installed does not change while a process runs.
    """
    found = {point.name: point.value.partition(":")[0] for point in metadata.entry_points(group=kind.group)}
    return {name: module for name, module in found.items() if NAME.fullmatch(name)} | {
        name: f"{kind.package}.{name}" for name in _in_folder(kind)
    }


def _in_folder(kind: Kind) -> Iterable[str]:
    """Files of the folder that define what the kind requires; helper modules there do not."""
    define = re.compile(rf"^(?:class|def) {kind.defines}\b(?!\(Protocol\))", re.MULTILINE)
    folder = importlib.util.find_spec(kind.package)
    for place in (folder.submodule_search_locations or ()) if folder is not None else ():
        for module in pkgutil.iter_modules([place]):
            is_file = not module.ispkg and not module.name.startswith("_")
            if is_file and define.search((Path(place) / f"{module.name}.py").read_text(encoding="utf-8")):
                yield module.name


def _source(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PluginError(f"plug-in {path}: larger than {MAX_BYTES:,} bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise PluginError(f"plug-in {path}: no such file") from None
    except OSError as error:
        raise PluginError(f"plug-in {path}: cannot be read: {error.strerror}") from None


def _execute(file: PluginFile) -> ModuleType:
    """Execute the file's source under a module name of its own, if the content has not changed."""
    qualified = f"{_PREFIX}{file.name}_{file.sha256[:12]}"
    if qualified in sys.modules:
        return sys.modules[qualified]
    source = _source(Path(file.path))
    if hashlib.sha256(source).hexdigest() != file.sha256:
        raise PluginError(
            f"plug-in {file.path}: changed since the study was started; restore it, or start another study"
        )
    module = ModuleType(qualified)
    module.__file__ = file.path
    sys.modules[qualified] = module  # before it runs, because dataclasses and pickle look there
    try:
        exec(compile(source, file.path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[qualified]
        raise PluginError(f"plug-in {file.path} fails: {typed_line(error)}{line_text(error)}") from error
    return module
