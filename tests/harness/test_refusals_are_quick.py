"""A command that refuses imports nothing that takes seconds. Times are not asserted, since machines differ."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "ray", "pandas", "matplotlib", "pyarrow", "scipy")
SHOW = f"""
import json, sys
from harness.entry import main
sys.argv = ["prune-or-search", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as ended:
    print("\\n" + json.dumps([ended.code, [name for name in {HEAVY!r} if name in sys.modules]]), file=sys.stderr)
"""


def imported(words, cwd):
    """A command's exit code, from a process of its own, and the heavy packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW, json.dumps([str(word) for word in words])],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return json.loads(done.stderr.strip().splitlines()[-1])


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["list"], ["list", "figures"]])
def test_what_needs_no_study_imports_nothing_heavy(words, tmp_path):
    assert imported(words, tmp_path) == [0, []]


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize("text", ["name: [", "targets: [-1]", "- 1", "\x00", ""])
def test_a_config_is_refused_before_anything_heavy(verb, text, tmp_path, write_config):
    assert imported([verb, write_config(text)], tmp_path) == [2, []]


@pytest.mark.parametrize("words", [["--backend", "slurm"], ["--backend", "inline", "--address", "auto"], ["-q", "-v"]])
def test_options_are_refused_before_anything_heavy(words, tmp_path, tiny, write_config):
    assert imported(["run", write_config(tiny), *words], tmp_path) == [2, []]


@pytest.mark.parametrize("words", [["status"], ["answer", "--macs", "1M"], ["audit"], ["report"], ["cost"]])
def test_a_folder_that_is_no_study_needs_neither_torch_nor_matplotlib(words, tmp_path):
    code, heavy = imported([words[0], tmp_path, *words[1:]], tmp_path)
    assert code == 2
    assert not {"torch", "timm", "ray", "matplotlib"} & set(heavy)


@pytest.mark.parametrize("words", [["status"], ["answer", "--macs", "0.6M"], ["audit"], ["cost"]])
def test_reading_a_study_needs_neither_torch_nor_matplotlib(words, tmp_path, tiny_study):
    code, heavy = imported([words[0], tiny_study, *words[1:]], tmp_path)
    assert code == 0
    assert not {"torch", "timm", "ray", "matplotlib"} & set(heavy)


def test_a_second_driver_is_refused_before_ray_starts(tmp_path, tiny, write_config):
    from accounting.ledger.driver_lock import held

    (tmp_path / "out").mkdir()
    with held(tmp_path / "out" / ".lock"):
        assert imported(["run", write_config(tiny), "--out", tmp_path / "out"], tmp_path) == [2, []]


def test_an_address_where_nothing_listens_is_refused_before_anything_heavy(tmp_path, tiny, write_config):
    assert imported(["run", write_config(tiny), "--address", "127.0.0.1:1"], tmp_path) == [2, []]
