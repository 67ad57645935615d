"""A task's words are defined in one place; no other file names its quality or the head's outputs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from accounting.words.task import CLASSIFICATION, TaskWords

ROOT = Path(__file__).parents[2]
PACKAGES = ("accounting", "harness", "nas_baseline", "pruning", "reports")
WORDS = re.compile(r"\btop-?1\b|accura|\bclass(?:es)?\b|classif|\bchance\b|\blogits?\b", re.IGNORECASE)
IDENTIFIER = re.compile(r"[A-Za-z]*_[A-Za-z0-9_]*|[a-z0-9_]+[.:][a-z0-9_.:]+")
"""Names of fields, columns, keys and files: ``val_top1``, ``accuracy_macs``, ``dataset.num_classes``."""
HOMES = ("accounting/words/task.py", "harness/task/")
DATASETS = "harness/data/"
"""Datasets for classification, which report errors in a folder of classes; other tasks bring their own datasets."""
MAY = {
    "accounting/meters/rapl.py": "the folder of Linux in which energy counters are",
    "accounting/study/plugins.py": "a class of Python",
    "harness/config/route_files.py": "a class of Python",
    "nas_baseline/strategies/__init__.py": "a class of Python",
    "pruning/tried.py": "a class of Python",
    "harness/models/checkpoint_file.py": "classes of Python in a pickle",
    "harness/models/classifier.py": "the name of timm's last layer",
    "nas_baseline/supernet/elastic.py": "the name of timm's last layer",
    "pruning/layers.py": "the role of a network's last layer, as configs and ledgers have it; a type of torch",
    "reports/words/colours.py": "the role of a network's last layer",
    "harness/cli.py": "help, before any study is read; the layout of a folder of classes",
    "harness/starter/wishes.py": "the layout of a folder of classes, which `init` begins with",
    "harness/console/show_answer.py": "the option --top1, refused before the study is read",
    "reports/answers/as_json.py": "a key of answer.json",
    "reports/compare/guards.py": "the code of an obstacle",
    "reports/data/levels.py": "the code of a level",
    "reports/side_by_side/values.py": "a key of compare --json",
}


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a file with their line numbers, except docstrings (also those of config fields)."""
    tree = ast.parse(path.read_text())
    told = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.lineno, node.value


def said_in(path: Path) -> list[tuple[int, str]]:
    """The literals of a file that contain a task's words, with their line numbers."""
    return [(line, text) for line, text in literals(path) if WORDS.search(text) and not IDENTIFIER.fullmatch(text)]


def files() -> dict[str, Path]:
    found = {p.relative_to(ROOT).as_posix(): p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))}
    return {name: path for name, path in found.items() if not name.startswith((*HOMES, DATASETS))}


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_home_of_tasks_says_what_a_quality_is_called(package):
    ours = {name: path for name, path in files().items() if name.startswith(f"{package}/") and name not in MAY}
    said = {name: found for name, path in ours.items() if (found := said_in(path))}
    assert not said, "ask accounting.words.task.task(), or say in MAY why not"


@pytest.mark.parametrize("name", MAY)
def test_what_may_say_them_does(name):
    """An exception that is no longer needed must be removed."""
    assert said_in(ROOT / name)


def test_templates_of_pages_say_none():
    for path in (ROOT / "reports").rglob("*.html"):
        text = re.sub(r"\bclass=|\.class\b|classList", "", path.read_text())
        assert not WORDS.search(re.sub(r"/\*.*?\*/|<!--.*?-->", "", text, flags=re.DOTALL)), path


def test_words_come_back_as_a_study_keeps_them():
    words = TaskWords("detection", "mAP", "precision", "precisions", "better", "box", "boxes", chance_level=0.0)
    assert TaskWords.read(words.as_dict()) == words
    assert TaskWords.read(CLASSIFICATION.as_dict()) == CLASSIFICATION


@pytest.mark.parametrize(
    "said", [None, "classification", {}, {"metric": 3, "quality": "", "ceiling": "1", "unit": "$x^"}]
)
def test_what_is_missing_or_odd_is_as_of_classification(said):
    assert TaskWords.read(said) == CLASSIFICATION


def test_chance_is_the_tasks():
    assert CLASSIFICATION.chance(10) == pytest.approx(0.1)
    assert TaskWords("d", "mAP", "p", "ps", "better", "box", "boxes", chance_level=0.0).chance(10) == 0.0


def test_a_text_is_filled_with_the_words_of_a_task():
    words = TaskWords("attributes", "hits", "hit rate", "hit rates", "better", "attribute", "attributes")
    assert words.fill("{Quality} against MACs, {a_quality}, {other}") == "Hit rate against MACs, a hit rate, {other}"
    assert CLASSIFICATION.fill("{a_quality} {as_good}") == "an accuracy as accurate"
