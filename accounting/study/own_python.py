"""How to start a second Python process for work of this program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def own_python(*words: str) -> tuple[list[str], dict[str, str]]:
    """The command line and environment of a Python process with these arguments.

    It finds this program's packages where this process has them, and imports nothing from the working folder, which may
    be anyone's.
    """
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return [sys.executable, "-P", *words], os.environ | {"PYTHONPATH": os.pathsep.join(path)}
