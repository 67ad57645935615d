"""Follow the target of ``answer --macs`` from the command line to the sentence, and count the functions on the way.

    python benchmarks/follow_target.py [study folder] [MACs]

There are two counts, from one run of the command with a profiler over our packages:

- *stays*: functions that receive the target and pass it on towards the sentence. A function receives it if an argument
  is the text of the command line, the number made from that text (the same object: an equal number from the ledger does
  not count), or a value with one of these in a field, at most two levels deep (an answer holds its question, which
  holds the target). It passes it on if its result holds the target, as such a value or written in a text, or if it
  calls a function that does.
- *all*: the stays, and functions that look something up by the target and return that.

Each function counts once. Comprehensions belong to the function they are in; calls inside libraries are not counted.
Without a folder, the golden study ``every_route`` is used, with targets that are measured, that are between two
measured ones (as MACs and as a share), and that are out of reach.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("accounting", "harness", "nas_baseline", "pruning", "reports")
GOLDEN = ROOT / "tests" / "golden" / "every_route.tar.xz"
MACS = ("0.6M", "0.5M", "55%", "9M")
READERS = ("parse_macs", "parse_percent", "percent_of")
"""Functions that turn the text into a number."""
DEEP = 2


@dataclass
class _Call:
    """A call in progress: whether it received the target, and whether it has passed it on so far."""

    code: CodeType
    received: bool
    carried: bool = False


@dataclass
class Way:
    """The functions that received the target, as ``module:function``, in the order of their first call."""

    forms: list[object]
    """The objects that count as the target: the text of the command line, then the numbers made from it."""
    shown: str = ""
    """The target as a sentence writes it."""
    all: dict[str, None] = field(default_factory=dict)
    carriers: set[str] = field(default_factory=set)
    _calls: list[_Call] = field(default_factory=list)

    @property
    def stays(self) -> list[str]:
        """The functions that pass the target on."""
        return [name for name in self.all if name in self.carriers]

    def seen(self, frame: FrameType, event: str, value: object) -> None:
        """Record calls and returns: the profile function for ``sys.setprofile``."""
        code = frame.f_code
        if event == "call" and _is_ours(code):
            given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            received = any(self._holds(frame.f_locals.get(name)) for name in given)
            if received:
                self.all.setdefault(_name(code))
            self._calls.append(_Call(code, received))
        elif event == "return" and self._calls and self._calls[-1].code is code:
            call = self._calls.pop()
            if call.received and code.co_name in READERS and value is not None:
                self._learn(value)
            if call.received and (call.carried or self._carries(value)):
                self.carriers.add(_name(code))
                if self._calls:
                    self._calls[-1].carried = True

    def _learn(self, number: object) -> None:
        from accounting.words.quantities import macs_text

        self.forms.append(number)
        if isinstance(number, int):
            sys.setprofile(None)
            self.shown = macs_text(number)
            sys.setprofile(self.seen)

    def _holds(self, value: object, deep: int = DEEP) -> bool:
        if any(value is form for form in self.forms):
            return True
        if not deep or not is_dataclass(value) or isinstance(value, type) or not hasattr(value, "__dict__"):
            return False
        return any(self._holds(vars(value).get(one.name), deep - 1) for one in fields(value))

    def _carries(self, value: object) -> bool:
        if isinstance(value, str):
            return bool(self.shown) and self.shown in value
        if isinstance(value, (list, tuple)):
            return any(self._carries(one) for one in value)
        return self._holds(value)


def _is_ours(code: CodeType) -> bool:
    path = Path(code.co_filename)
    inside = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PACKAGES
    return inside and not code.co_name.startswith("<")


def _name(code: CodeType) -> str:
    return f"{Path(code.co_filename).relative_to(ROOT).with_suffix('').as_posix()}:{code.co_qualname}"


def modules(names: Sequence[str]) -> list[str]:
    """The modules of these functions, in the order of their first function."""
    return list(dict.fromkeys(name.partition(":")[0] for name in names))


def follow(folder: Path, macs: str) -> Way:
    """The way of the target through ``prune-or-search answer FOLDER --macs MACS``; the command's output is printed."""
    from harness.cli import answer

    way = Way([macs])
    sys.setprofile(way.seen)
    try:
        answer(folder, macs)
    except Exception as ending:  # a refusal: what the command line would print
        print(ending)
    finally:
        sys.setprofile(None)
    return way


def golden(place: Path) -> Path:
    """Unpack the golden study into ``place`` and return its folder."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(place, filter="data")
    return place / "every_route"


def main(arguments: Sequence[str]) -> None:
    """Follow each target, and print its way."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments[0]) if arguments else golden(Path(temporary))
        for macs in arguments[1:] or MACS:
            way = follow(folder, macs)
            for name in way.all:
                print(f"{'stay  ' if name in way.carriers else 'look-up'} {name}")
            print(f"{macs}: {len(way.stays)} stays in {len(modules(way.stays))} modules; ", end="")
            print(f"all: {len(way.all)} functions in {len(modules(list(way.all)))} modules\n")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1:])
