"""How a second Python is started for work of ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def own_python(*words: str) -> tuple[list[str], dict[str, str]]:
    """The command line of a Python that gets these words, and its environment.

    It finds our packages where this process has them. It imports nothing from the working folder, which may be anyone's.
    """
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return [sys.executable, "-P", *words], os.environ | {"PYTHONPATH": os.pathsep.join(path)}
