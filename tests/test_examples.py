"""Each example runs as it is, from its first line to its assert."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(script, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(script), *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_to_its_assert(script, request):
    needs_a_study = script.stem == "read_a_study"
    done = run(script, *([request.getfixturevalue("tiny_study")] if needs_a_study else []))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_ends_with_an_assert_that_can_fail(script):
    assert script.read_text(encoding="utf-8").rstrip().splitlines()[-1].startswith("assert ")
