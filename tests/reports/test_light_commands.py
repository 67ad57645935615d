"""Commands that only read a study import nothing slow; each is started in a process of its own."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "matplotlib", "pandas", "pyarrow", "scipy", "timm")
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("imported:", *[name for name in {heavy} if name in sys.modules], file=sys.stderr))
sys.argv = ["prune-or-search", {command}, {folder}]
from harness.entry import main
main()
"""


@pytest.mark.parametrize("command", ["answer", "status", "audit", "cost"])
def test_a_command_that_draws_nothing_imports_nothing_heavy(study, command):
    program = PROGRAM.format(heavy=repr(HEAVY), command=repr(command), folder=repr(str(study)))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip()
    assert done.stderr.strip().splitlines()[-1] == "imported:"
