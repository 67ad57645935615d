"""Reads a user's file of weights as tensors only: no code in it runs, whatever wrote it.

Pickles are read by PyTorch's own restricted unpickler. Classes that it does not know (the ``args`` of a training
script, configs, paths, NumPy numbers) are never imported; each becomes an inert object that keeps its arguments and
does nothing. A file that names anything with which a pickle could run a program is refused, although nothing would run.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import tarfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from harness.errors import InputError, one_line

STATE_KEYS = (
    "state_dict_ema", "ema_state_dict", "model_state_dict_ema", "model_ema", "params_ema", "ema_model", "ema",
    "averaged_model", "state_dict", "model_state_dict", "model_state", "model", "teacher", "student", "net",
    "network", "module", "backbone", "encoder", "weights", "params",
)  # fmt: skip
"""Keys under which checkpoints keep a network's weights, in order of preference: averaged weights first."""

_OTHER_FILES = {
    b"version https://git-lfs": "a pointer of Git LFS and not the file itself; fetch it with git lfs pull",
    b"\x1f\x8b": "compressed by gzip; unpack it and name the file of weights",
}
"""Other kinds of file, by their first bytes, and what to do with them."""
_UNREADABLE = "a pickle that cannot be read as tensors"
"""Replaces PyTorch's message, which advises reading the file without restrictions."""
_MAX_NESTING = 4
_AVERAGED = re.compile(r"(?<![a-z])(ema|swa)(?![a-z])|averag", re.IGNORECASE)
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|rng|random|loss|metric|config|hparam|hyper|args|callback", re.IGNORECASE)
"""Parts of the keys under which trainers keep tensors that are not a network's."""
_MAX_CLASSES = 200
_RUNS_PROGRAMS = {
    "asyncio", "bdb", "code", "codeop", "commands", "concurrent", "ctypes", "dill", "cloudpickle", "ftplib", "http",
    "importlib", "inspect", "io", "joblib", "marshal", "multiprocessing", "nt", "operator", "os", "pdb", "pickle",
    "pip", "pkgutil", "posix", "pty", "runpy", "shutil", "signal", "site", "socket", "subprocess", "sys", "tempfile",
    "threading", "timeit", "trace", "urllib", "webbrowser",
}  # fmt: skip
"""Modules whose functions no checkpoint needs, but an attack would use."""
_HARMLESS_BUILTINS = {
    "bool", "bytes", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set", "slice",
    "str", "tuple", "type",
}  # fmt: skip


PACKAGE = "package:"
"""How the name of a file in an installed package begins, wherever that is."""


def checkpoint_path(given: str) -> Path:
    """The file of ``parent.checkpoint``: a path, or ``package:NAME/path`` for a file in an installed package."""
    if not given.startswith(PACKAGE):
        try:
            return Path(given).expanduser().resolve()
        except (RuntimeError, OSError, ValueError) as error:  # no such user, a loop of links, a NUL byte
            raise InputError(f"parent.checkpoint: {given[:120]!r} is not a path ({one_line(error)})") from None
    package, _, inside = given.removeprefix(PACKAGE).partition("/")
    try:
        path = Path(str(resources.files(package))) / inside
    except (ModuleNotFoundError, ValueError, TypeError):
        raise InputError(f"parent.checkpoint: {given}: no package {package!r} is installed; pip install it") from None
    if not inside:
        raise InputError(
            f"parent.checkpoint: {given} names a package and no file; write package:{package}/path/to/file"
        )
    return path


def checkpoint_sha256(path: Path) -> str:
    """SHA-256 of a checkpoint's bytes, as hex digits; for an index of shards, of the index and then each shard by name.

    Raises:
        InputError: the file or a shard cannot be read.

    """
    digest = hashlib.sha256()
    for part in (path, *_shards(path)):
        try:
            with part.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"parent.checkpoint: {part} cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a user's file: safetensors (a whole file or an index of shards), or a file of ``torch.save``.

    The state dict may be next to other entries or nested in them; averaged weights are preferred. Names are those in
    the file without the parts that ``DataParallel``, ``torch.compile`` and FSDP add. ``InputError`` says what is wrong
    with the file.
    """
    _check_is_file(path)
    shards = _shards(path)
    if shards:
        joined: dict[str, Tensor] = {}
        for shard in shards:
            _check_is_file(shard)
            joined.update(_tensors(_read(shard), shard))
        found = _tensors(joined, path)
    else:
        found = _tensors(_read(path), path)
    return {_plain(name): value for name, value in found.items()}


def _check_is_file(path: Path) -> None:
    try:
        if path.is_dir():
            inside = sorted(
                p.name for p in path.iterdir() if p.suffix in (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
            )
            hint = f"; in it: {', '.join(inside[:4])}" if inside else ""
            raise InputError(f"parent.checkpoint: {path} is a folder; name a file{hint}")
        if not path.is_file():
            raise InputError(f"parent.checkpoint: no file at {path}")
        if path.stat().st_size == 0:
            raise InputError(f"parent.checkpoint: {path} is empty (0 bytes)")
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"parent.checkpoint: {str(path)[:120]!r} cannot be read ({one_line(error)})") from None


def _shards(path: Path) -> tuple[Path, ...]:
    """The files that a Hugging Face index of shards names; none for any other file."""
    if not path.name.endswith(".index.json"):
        return ()
    try:
        names = sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
        shards = tuple(path.parent / str(name) for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"parent.checkpoint: {path} is not an index of shards (no weight_map that names files)"
        ) from None
    if any(Path(str(name)).name != name for name in names):
        raise InputError(f"parent.checkpoint: {path} names shards outside its folder")
    return shards


def _read(path: Path) -> object:
    try:
        with path.open("rb") as file:
            head = file.read(512)
        for start, kind in _OTHER_FILES.items():
            if head.startswith(start):
                raise InputError(f"parent.checkpoint: {path} is {kind}")
        if path.suffix == ".safetensors" or head[8:9] == b"{":
            return load_file(path)
        if not zipfile.is_zipfile(path) and tarfile.is_tarfile(path):
            raise InputError(
                f"parent.checkpoint: {path} is a tar archive; unpack it and name the file of weights in it"
            )
        if head[:2] == b"PK":
            _check_archive(path)
        return _unpickled(path)
    except InputError:
        raise
    except Exception as error:  # third-party readers raise all kinds of errors on a damaged or hostile file
        kind = "" if isinstance(error, SafetensorError | RuntimeError | OSError) else f"{type(error).__name__}: "
        reason = _UNREADABLE if isinstance(error, pickle.UnpicklingError) else f"{kind}{one_line(error)}"
        raise InputError(f"parent.checkpoint: {path} is not a checkpoint of weights ({reason})") from None


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    names = {info.filename.rpartition("/")[2] for info in infos}
    if "constants.pkl" in names:
        raise InputError(
            f"parent.checkpoint: {path} is a TorchScript program, which is never run here; save model.state_dict()"
        )
    if "data.pkl" not in names:
        kind = "a NumPy archive" if any(name.endswith(".npy") for name in names) else "a zip archive"
        raise InputError(f"parent.checkpoint: {path} is {kind} and no checkpoint of weights; save model.state_dict()")
    if sum(info.file_size for info in infos) > 2 * path.stat().st_size:
        raise InputError(
            f"parent.checkpoint: {path} is compressed to much less than it holds, which torch.save never does"
        )


def _unpickled(path: Path) -> object:
    """What ``torch.save`` wrote, with unknown classes made inert."""
    inert: dict[str, object] = {}
    for name in _unknown_classes(path):
        inert[name] = _inert(name, path)
    for _ in range(_MAX_CLASSES):
        allowed = [(stand_in, name) for name, stand_in in inert.items()]
        try:
            with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            found = re.search(r"Unsupported global: GLOBAL (\S+) was not an allowed", str(error))
            blocked = re.search(r"unsupported GLOBAL (\S+) whose module", str(error))
            if blocked:
                _inert(blocked[1], path)
            if not found or found[1] in inert:
                raise
            name = found[1] if "." in found[1] else f"builtins.{found[1]}"
            inert[name] = _inert(name, path)
    raise InputError(f"parent.checkpoint: {path} names more than {_MAX_CLASSES} classes; save model.state_dict() alone")


def _unknown_classes(path: Path) -> list[str]:
    """Classes that PyTorch's unpickler would refuse, found without unpickling; only the current format allows this."""
    if not zipfile.is_zipfile(path):
        return []
    return list(torch.serialization.get_unsafe_globals_in_checkpoint(path))[: _MAX_CLASSES + 1]


def _inert(name: str, path: Path) -> object:
    """A substitute for a class or function in a pickle; calling it gives an object that does nothing.

    Raises:
        InputError: a pickle could run programs with what is named.

    """
    module, _, leaf = name.rpartition(".")
    root = module.partition(".")[0]
    if root in _RUNS_PROGRAMS or (root in ("builtins", "__builtin__") and leaf not in _HARMLESS_BUILTINS):
        raise InputError(
            f"parent.checkpoint: {path} asks for {name}, with which a file could run programs; it is not loaded: get the "
            "weights as safetensors from someone you trust"
        )

    def new(_cls: type, *args: object, **_kwargs: object) -> object:
        # A Counter is the only mapping that PyTorch's unpickler allows both items and any state.
        made: Counter[object] = Counter()
        state = vars(made)
        state.update(inert_class=name, __setstate__=lambda given: state.update(given=given))
        return made

    return type("Inert", (), {"__new__": new})


def _tensors(held: object, path: Path) -> dict[str, Tensor]:
    """The state dict in the content of a file; ``InputError`` if there is none or it holds more than tensors."""
    found = _find_state(held, 0) or _only_state(held, path)
    if found is None:
        raise InputError(f"parent.checkpoint: {path} {_without_state(held)}; save model.state_dict()")
    tensors = {}
    for name, value in found.items():
        if isinstance(name, bytes):
            name = name.decode("utf-8", "replace")
        if not isinstance(name, str):
            raise InputError(
                f"parent.checkpoint: {path} has keys such as {name!r:.40} ({type(name).__name__}) instead of names of "
                "parameters; save model.state_dict()"
            )
        if isinstance(value, Tensor):
            tensors[name] = value.detach()
        elif name == "_metadata" or name.endswith("_extra_state") or isinstance(value, int | float | str | bool | None):
            continue
        else:
            raise InputError(
                f"parent.checkpoint: {path} holds {_kind(value)} under {name!r:.80} between its tensors; save "
                "model.state_dict()"
            )
    return tensors


def _find_state(held: object, depth: int) -> Mapping[object, object] | None:
    """The preferred mapping that directly contains tensors; None if there is none."""
    if not isinstance(held, Mapping) or depth > _MAX_NESTING or hasattr(held, "inert_class"):
        return None
    for key in STATE_KEYS:
        found = _find_state(held.get(key), depth + 1)
        if found is not None:
            return found
    return held if any(isinstance(value, Tensor) for value in held.values()) else None


def _only_state(held: object, path: Path) -> Mapping[object, object] | None:
    """The state dict below keys of a trainer's own; of several, the averaged one. ``InputError`` if that leaves several."""
    found = dict(_states_below(held, "", 0))
    averaged = {place: state for place, state in found.items() if _AVERAGED.search(place)}
    left = averaged or found
    if len(left) > 1:
        places = " and ".join(repr(place)[:60] for place in list(left)[:2])
        raise InputError(
            f"parent.checkpoint: {path} holds several state dicts, under {places}; save only the one that is meant"
        )
    return next(iter(left.values()), None)


def _states_below(held: object, above: str, depth: int) -> Iterator[tuple[str, Mapping[object, object]]]:
    """(dotted keys, state dict) for each state dict below keys that do not name something else of a training."""
    if not isinstance(held, Mapping) or depth > _MAX_NESTING or hasattr(held, "inert_class"):
        return
    for key, value in held.items():
        if not isinstance(key, str) or _NO_WEIGHTS.search(key):
            continue
        place = f"{above}.{key}" if above else key
        state = _find_state(value, depth + 1)
        if state is not None:
            yield place, state
        else:
            yield from _states_below(value, place, depth + 1)


def _without_state(held: object) -> str:
    if isinstance(held, Mapping) and not hasattr(held, "inert_class"):
        if not held:
            return "holds an empty dict"
        for key in STATE_KEYS:
            if hasattr(held.get(key), "inert_class"):
                return f"holds {_kind(held[key])} under {key!r} instead of a state dict of tensors"
        keys = ", ".join(repr(key)[:30] for key in list(held)[:4])
        return f"holds no state dict of tensors (its keys: {keys})"
    return f"holds {_kind(held)} and no state dict of tensors"


def _kind(value: object) -> str:
    name = vars(value).get("inert_class") if isinstance(value, Counter) else None
    if name is None:
        return f"a {type(value).__name__}"
    given = vars(value).get("given")
    is_module = isinstance(given, dict) and ("_modules" in given or "_parameters" in given)
    return f"a whole module ({name})" if is_module else f"an object of {name}"


def _plain(name: str) -> str:
    """A name without the parts that wrappers insert anywhere in it."""
    for wrapper in ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."):
        name = name.replace(wrapper, "")
    return name.removeprefix("module.")
