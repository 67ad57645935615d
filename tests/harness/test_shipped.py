"""The wheel contains every module, every file next to the modules, and the studies that `init --study` copies."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from refusals import assert_refused
from setuptools import find_packages

from harness.config import shipped
from harness.config.study import load_configs

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
TOP = ("accounting", "harness", "nas_baseline", "pruning", "reports")
MADE = {".pyc", ".so"}


def test_every_folder_with_modules_is_a_package_of_the_wheel():
    packages = set(find_packages(str(ROOT), include=SETTINGS["packages"]["find"]["include"]))
    folders = {".".join(file.parent.relative_to(ROOT).parts) for top in TOP for file in (ROOT / top).rglob("*.py")}
    assert packages == folders


def test_every_file_beside_the_modules_goes_with_them():
    """``package-data`` names each file, by its own package or by ``*``."""
    patterns = SETTINGS["package-data"]
    left = [
        file.relative_to(ROOT).as_posix()
        for top in TOP
        for file in (ROOT / top).rglob("*")
        if file.is_file() and file.suffix not in MADE | {".py"} and not _named(file, patterns)
    ]
    assert left == []


def _named(file: Path, patterns: dict[str, list[str]]) -> bool:
    above = [parent for parent in file.relative_to(ROOT).parents if parent.parts]
    own = [(str(file.relative_to(ROOT / at)), patterns.get(".".join(at.parts), [])) for at in above]
    return any(fnmatch(name, p) for name, many in own for p in [*many, *patterns["*"]])


class TestInstalled:
    """A wheel laid out by hand, with data files where ``pip`` puts them, without the minutes of building one."""

    @pytest.fixture
    def site(self, tmp_path):
        site, studies = tmp_path / "site", tmp_path / "share" / "prune-or-search" / "studies"
        studies.mkdir(parents=True)
        for file in (ROOT / "studies").glob("*.yaml"):
            (studies / file.name).write_bytes(file.read_bytes())
        info = site / "prune_or_search-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: prune-or-search\nVersion: 0.1.0\n")
        lines = [f"../share/prune-or-search/studies/{file.name},," for file in studies.iterdir()]
        (info / "RECORD").write_text(
            "\n".join([*lines, "accounting/py.typed,,", "other/share/studies/x.yaml,,"]) + "\n"
        )
        return site

    def test_finds_its_studies(self, site, tmp_path):
        code = (
            "from pathlib import Path; from harness.config import shipped\n"
            "shipped.CHECKOUT = Path('nowhere/studies')\n"
            "for name, path in shipped.shipped_studies().items(): print(name, path)\n"
        )
        path = os.pathsep.join([str(site), str(ROOT)])
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        assert set(found) == {file.stem for file in (ROOT / "studies").glob("*.yaml")}
        assert all(
            Path(path).read_bytes() == (ROOT / "studies" / Path(path).name).read_bytes() for path in found.values()
        )

    def test_without_a_wheel_there_are_none(self, monkeypatch, tmp_path):
        monkeypatch.setattr(shipped, "CHECKOUT", tmp_path / "studies")
        monkeypatch.setattr(shipped, "DISTRIBUTION", "prune-or-search-that-nobody-installed")
        assert shipped.shipped_studies() == {}


class TestInit:
    @pytest.mark.parametrize("name", shipped.shipped_studies())
    def test_copies_a_packaged_study(self, name, command, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code, out, err = command("init", "--study", name)
        assert (code, err) == (0, ""), err
        assert f"{name}.yaml is written" in out
        assert (tmp_path / f"{name}.yaml").read_bytes() == (ROOT / "studies" / f"{name}.yaml").read_bytes()
        assert load_configs(tmp_path / f"{name}.yaml")

    def test_a_name_that_is_none(self, command, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        says = "--study: unknown packaged study 'quikstart' (did you mean 'quickstart'?); allowed: cifar10, "
        assert_refused(command("init", "--study", "quikstart"), says)
        assert list(tmp_path.glob("*.yaml")) == []

    def test_no_wishes_beside_it(self, command, tmp_path):
        given = ("--study", "quickstart", "--macs", "50%", "--parent", "timm:resnet18")
        assert_refused(command("init", *given), "leave out --parent and --macs")

    def test_a_file_that_is_there_stays(self, command, tmp_path):
        (tmp_path / "mine.yaml").write_text("name: mine\n")
        given = ("--study", "quickstart", "--out", tmp_path / "mine.yaml")
        assert_refused(command("init", *given), "exists already and was left as it is")
        assert (tmp_path / "mine.yaml").read_text() == "name: mine\n"
