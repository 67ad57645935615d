"""The command shown for installing an optional extra works in the user's environment."""

import json
import shlex
from importlib import metadata
from pathlib import Path

import pytest

from accounting.words import extras

ROOT = Path(extras.__file__).resolve().parents[2]


class Installed:
    def __init__(self, url):
        self.url = url

    def read_text(self, name):
        assert name == "direct_url.json"
        return None if self.url is None else json.dumps({"url": self.url, "dir_info": {}})


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that makes the package look installed in site-packages from ``url``."""

    def make(url):
        monkeypatch.setattr(extras, "__file__", str(tmp_path / "site-packages" / "accounting" / "words" / "extras.py"))
        monkeypatch.setattr(metadata, "distribution", lambda name: Installed(url))

    return make


def test_in_a_checkout_it_is_installed_from_there(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert extras.install_extra("structured") == "pip install -e '.[structured]'"


def test_elsewhere_the_checkout_is_named_in_full(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert shlex.split(extras.install_extra("onnx")) == ["pip", "install", "-e", f"{ROOT}[onnx]"]


@pytest.mark.parametrize("url", [None, "https://example.org/prune-or-search.git", "file:///gone/away"])
def test_installed_from_an_index_it_comes_from_there(url, installed):
    installed(url)
    assert extras.install_extra("onnx") == "pip install 'prune-or-search[onnx]'"


def test_installed_from_a_folder_it_comes_from_that_folder(installed, tmp_path, monkeypatch):
    source = tmp_path / "my checkout"
    source.mkdir()
    (source / "pyproject.toml").write_text('[project]\nname = "prune-or-search"\n')
    installed(source.as_uri())
    assert shlex.split(extras.install_extra("onnx")) == ["pip", "install", f"{source}[onnx]"]
    monkeypatch.chdir(source)
    assert extras.install_extra("onnx") == "pip install '.[onnx]'"


def test_without_any_installation_it_has_a_name(installed, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    installed(None)
    monkeypatch.setattr(metadata, "distribution", missing)
    assert extras.install_extra("onnx") == "pip install 'prune-or-search[onnx]'"


@pytest.mark.parametrize("top", ["harness", "pruning", "nas_baseline", "reports"])
def test_every_message_takes_it_from_here(top):
    for path in (ROOT / top).rglob("*.py"):
        assert "pip install 'prune-or-search" not in path.read_text(encoding="utf-8"), path
