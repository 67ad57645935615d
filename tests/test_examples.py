"""Each example runs unchanged, from its first line to its assert."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "read_a_study.ipynb"
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


def cells(kind):
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def test_notebook_runs_from_its_first_cell_to_its_last(tiny_study, tmp_path):
    script = tmp_path / "notebook.py"
    script.write_text("import matplotlib\nmatplotlib.use('Agg')\n" + "\n\n".join(cells("code")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STUDY": str(tiny_study)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "delivered networks; costs in" in done.stdout


def test_notebook_is_kept_without_outputs():
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in found)
