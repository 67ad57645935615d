"""The keys of a route from an installed package or a user's own file can be looked up like those of our routes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accounting.study import plugins
from harness.cli import app
from harness.config import routes
from harness.errors import InputError

ROOT = Path(__file__).parents[2]
SMALLEST = ROOT / "examples" / "plugins" / "smallest.py"
STEADY = '''
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field

from accounting.words.names import Role, RouteWords
from harness.config.recipe import RecipeOverride
from harness.config.route_section import RouteSection

WORDS = RouteWords(Role.CHALLENGER, "steady", summary="Goes at one pace.")


class Pace(Enum):
    SLOW = "slow"
    FAST = "fast"


class Tree(BaseModel):
    """A node of a tree."""

    left: "Tree | None" = None
    size: int = 1


class Config(RouteSection):
    """How a network is trained at one pace."""

    steps: int = Field(4, ge=1, le=10)
    """Steps at one pace."""
    train: RecipeOverride = RecipeOverride(epochs=3)
    """How it trains."""
    pace: Pace = Pace.SLOW
    pair: tuple[int, str] = (1, "a")
    anything: Any = None
    tree: Tree | None = None
    several: list[Tree] = []


class Route:
    name = "steady"
'''

Install = Callable[[str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A function that puts a route, as a package with an entry point, where Python finds installed packages."""
    made: list[str] = []

    def forget() -> None:
        plugins._installed.cache_clear()
        routes._with_keys.cache_clear()

    def put(name: str, source: str) -> None:
        package, info = tmp_path / f"stranger_{name}", tmp_path / f"stranger_{name}-1.0.dist-info"
        package.mkdir()
        info.mkdir()
        (package / "__init__.py").touch()
        (package / f"{name}.py").write_text(source, encoding="utf-8")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: stranger-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[prune_or_search.routes]\n{name} = stranger_{name}.{name}\n")
        made.append(package.name)
        importlib.invalidate_caches()
        forget()

    monkeypatch.syspath_prepend(tmp_path)
    yield put
    for module in [module for module in sys.modules if module.partition(".")[0] in made]:
        del sys.modules[module]
    monkeypatch.undo()
    forget()


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["list", *words])
    assert result.exit_code == 0, result.output or repr(result.exception)
    return result.output


def refused(*words: str) -> str:
    result = CliRunner().invoke(app, ["list", *words])
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


class TestInstalled:
    def test_its_section_is_printed(self, install: Install) -> None:
        install("steady", STEADY)
        out = said("config", "routes.steady")
        assert out.startswith("routes.steady:\n  How a network is trained at one pace.\n")
        assert "  steps: whole number; at least 1, at most 10; default 4\n      Steps at one pace.\n" in out
        assert "  train: section; default {epochs: 3}\n" in out
        assert "steady" in said("routes")

    def test_one_key_of_it_is_printed(self, install: Install) -> None:
        install("steady", STEADY)
        assert said("config", "routes.steady.steps").startswith("routes.steady.steps:\n  steps: whole number")

    def test_it_is_among_all_sections(self, install: Install) -> None:
        install("steady", STEADY)
        out = said("config")
        assert "\nroutes.steady:\n" in out and "routes.steady.train" in out
        assert "  steady: section\n      Goes at one pace.\n" in said("config", "routes")
        assert "Device-hours of the steady route." in said("config", "budget")

    def test_keys_of_any_type_have_a_type_in_words(self, install: Install) -> None:
        install("steady", STEADY)
        out = said("config", "routes.steady")
        assert "  pace: one of slow, fast; default slow\n" in out
        assert "  pair: list of values" in out
        assert "  anything: any value\n" in out
        assert "  tree: section\n" in out
        assert "  several: list of sections\n" in out
        assert "  size: whole number; default 1\n" in said("config", "routes.steady.tree")

    def test_one_that_cannot_be_imported_hides_no_other(self, install: Install) -> None:
        install("steady", STEADY)
        install("broken", "import nothing_of_this_name\n")
        install("bare", "class Route:\n    pass\n")
        out = " ".join(said("config").split())
        assert "routes.steady: " in out
        assert (
            "routes.broken: Cannot be shown: route 'broken' of stranger_broken.broken fails: ModuleNotFoundError" in out
        )
        assert "routes.bare: Cannot be shown: bare: its file has no class Config(RouteSection)" in out
        why = refused("config", "routes.broken")
        assert why.startswith("list config routes.broken: route 'broken' of stranger_broken.broken fails: Module")
        assert "\n" not in why

    def test_one_that_is_misspelt_is_the_nearest(self, install: Install) -> None:
        install("steady", STEADY)
        assert "did you mean 'routes.steady'" in refused("config", "routes.stedy")

    @pytest.mark.parametrize(("file", "option"), [("config.md", "--markdown"), ("study.schema.json", "--json-schema")])
    def test_the_stored_pages_stay_those_of_the_package_alone(self, install: Install, file: str, option: str) -> None:
        install("steady", STEADY)
        assert said("config", option) == (ROOT / "docs" / file).read_text(encoding="utf-8")

    def test_a_section_of_it_may_be_markdown(self, install: Install) -> None:
        install("steady", STEADY)
        assert "## `routes.steady`" in said("config", "routes.steady", "--markdown")


class TestOwnFile:
    def test_its_section_is_printed(self) -> None:
        out = said("config", "routes.smallest", "--plugin", str(SMALLEST))
        assert "  epochs: whole number; at least 1, at most 10; default 1\n      Epochs of each training.\n" in out

    def test_it_is_among_the_routes_and_nothing_of_it_is_executed(self, tmp_path: Path) -> None:
        file = tmp_path / "loud.py"
        file.write_text("raise RuntimeError('executed')\n\n\nclass Route:\n    pass\n")
        assert "loud" in said("routes", "--plugin", str(file))
        assert "executed" in refused("config", "routes.loud", "--plugin", str(file))

    def test_a_criterion_of_it_is_among_the_criteria(self) -> None:
        energy = ROOT / "examples" / "plugins" / "energy.py"
        assert "global_energy" in said("criteria", "--plugin", str(energy))

    def test_a_file_that_is_not_there_is_refused(self) -> None:
        assert refused("routes", "--plugin", "nowhere.py") == "plug-in nowhere.py: no such file"

    @pytest.mark.parametrize("option", ["--markdown", "--json-schema"])
    def test_the_whole_of_the_package_is_not_with_a_file(self, option: str) -> None:
        assert refused("config", option, "--plugin", str(SMALLEST)) == (
            f"--plugin: list config {option} prints the package's own keys; leave one of the two out"
        )
