"""How far the target of ``prune-or-search answer`` travels: functions and modules that are called with it.

    python benchmarks/answer_trip.py [study folder] [MACs]

Follows one answer, from ``answer(folder, target)`` to its sentence, with a profiler over our five packages. A function
counts where one of its own arguments is the target (a number of MACs, or a tuple or a list that holds it among at most
three values), under whatever name. Reading the folder, which does not
know the target yet, is left out. Without a folder: the golden study ``every_route`` at 0.6M MACs.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("accounting", "harness", "nas_baseline", "pruning", "reports")
GOLDEN = ROOT / "tests" / "golden" / "every_route.tar.xz"
MACS = 600_000
READS = ("reports.data.frames", "load_frames")
"""Reads the folder; what it calls does not know the target."""


def receives(frame: FrameType, target: int) -> bool:
    """Whether a function that was just called has the target among its arguments."""
    code = frame.f_code
    given = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
    return any(_is(value, target) or _holds(value, target) for value in given)


def trip(folder: Path, target: int) -> Counter[tuple[str, str]]:
    """Calls by (module, function) that received the target, while an answer was found and put into words."""
    from reports.answers.find import answer
    from reports.answers.text import sentence

    found: Counter[tuple[str, str]] = Counter()
    reading: list[FrameType] = []

    def seen(frame: FrameType, event: str, _: object) -> None:
        module, name = str(frame.f_globals.get("__name__", "")), frame.f_code.co_qualname
        if (module, name) == READS and event in ("call", "return"):
            reading.append(frame) if event == "call" else reading.clear()
        is_ours = module.partition(".")[0] in PACKAGES and "<" not in name  # no lambda, no made constructor
        if event == "call" and is_ours and not reading and receives(frame, target):
            found[module, name] += 1

    sys.setprofile(seen)
    try:
        sentence(answer(folder, target))
    finally:
        sys.setprofile(None)
    return found


def golden(place: Path) -> Path:
    """The golden study, unpacked."""
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(place, filter="data")
    return place / "every_route"


def _is(value: object, target: int) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == target


def _holds(value: object, target: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) <= 3 and any(_is(inner, target) for inner in value)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    macs = int(sys.argv[2]) if len(sys.argv) > 2 else MACS
    with tempfile.TemporaryDirectory() as temporary:
        study = Path(sys.argv[1]) if len(sys.argv) > 1 else golden(Path(temporary))
        calls = trip(study, macs)
    for (module, name), number in sorted(calls.items()):
        print(f"{number:>7} {module}.{name}")
    print(f"{len(calls)} functions in {len({module for module, _ in calls})} modules")
