"""A Python process that we start imports nothing from the working folder, which may be a stranger's study."""

import re
import subprocess
from pathlib import Path

import pytest

import accounting
from accounting.study.own_python import own_python

PACKAGES = ("accounting", "harness", "nas_baseline", "pruning", "reports")
MARKED = "open('ran', 'w')\nraise ImportError('of the working folder')\n"


@pytest.mark.parametrize("name", ["accounting", "pickle", "json"])
def test_it_takes_no_module_of_the_working_folder(name, tmp_path):
    (tmp_path / f"{name}.py").write_text(MARKED)
    words, env = own_python("-c", "import json, pickle, accounting.ledger.compacted")
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "ran").exists()


def test_it_finds_our_packages_where_they_are(tmp_path):
    words, env = own_python("-c", "import accounting; print(accounting.__file__)")
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == accounting.__file__


def test_no_python_is_started_in_any_other_way():
    """Both ``-P`` and ``-I`` keep the working folder off the path; every start of Python uses one of them."""
    root = Path(accounting.__file__).parents[1]
    started = [
        (path.relative_to(root), found)
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        for found in re.findall(r'sys\.executable,\s*"(-[^"]*)"', path.read_text())
    ]
    assert {words for _, words in started} <= {"-P", "-I"}, started
    assert len(started) >= 3
