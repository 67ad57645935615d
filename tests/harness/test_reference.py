"""Every key of a config can be looked up with a description, and what is printed and stored matches the classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from typer.testing import CliRunner

from accounting.study.yaml12 import read_yaml
from harness.cli import app
from harness.config.reference import find_section, json_schema, section_name, sections
from harness.config.routes import as_found
from harness.config.section import Strict
from harness.config.study import StudyConfig
from harness.errors import InputError

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


def models(model: type[Strict]) -> Iterator[type[Strict]]:
    """A section and all sections within it; the routes' sections are read from their files."""
    model = as_found(model)
    yield model
    for field in model.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Strict):
                yield from models(part)


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["list", *words])
    assert result.exit_code == 0, result.output
    return result.output


class TestDescriptions:
    @pytest.mark.parametrize("model", sorted(set(models(StudyConfig)), key=section_name))
    def test_every_key_has_a_sentence(self, model: type[Strict]) -> None:
        assert model.__doc__
        for name, field in model.model_fields.items():
            text = " ".join((field.description or "").split())
            assert len(text) > 8 and text.endswith("."), f"{model.__name__}.{name}: {text!r}; write a sentence below it"
            assert ":mod:" not in text and ":func:" not in text, f"{model.__name__}.{name}: read by users"

    def test_all_sections_are_walked(self) -> None:
        """19 classes, of which the search, prune, strategy and override sections occur in several places."""
        assert len(set(models(StudyConfig))) == len(sections())
        assert {section_name(model) for model in models(StudyConfig)} == {"StudyConfig", *json_schema()["$defs"]}


class TestSections:
    def test_a_key_has_type_default_range_and_description(self) -> None:
        rounds = {key.name: key for key in find_section("routes.prune").keys}["rounds"]
        assert (rounds.kind, rounds.default, rounds.span) == ("whole number", "3", "at least 2, at most 1,000")
        assert rounds.description == "Rounds of the iterative schedule; they share the epochs of ``finetune``."
        assert not rounds.is_required

    def test_units_and_lists_are_words(self) -> None:
        kinds = {key.name: key.kind for key in (*find_section("study").keys, *find_section("budget").keys)}
        assert kinds["targets"] == "list of MACs or a share of the parent's, as 0.5M or 50%"
        assert kinds["prune"] == "time, as 30 min or 2 h"
        assert find_section("routes.prune.criterion").keys[0].kind == "text or list of texts"

    def test_a_default_of_its_own_place_is_said(self) -> None:
        """In ``supernet``, a candidate trains for 3 epochs by default, and the default strategy is another one."""
        assert find_section("routes.search.candidate").places[0] == "parent.pretrain"
        found = {key.name: key.default for key in find_section("routes.supernet").keys}
        assert found["candidate"] == "{epochs: 3}"
        assert found["strategy"] == "{name: supernet, num_trials: 128}"
        assert {key.name: key.default for key in find_section("study").keys}["recipe"] == ""

    @pytest.mark.parametrize(
        ("place", "near"),
        [("routes.prun", "routes.prune"), ("routes.prune.flor", "routes.prune.floor"), ("recipes", "recipe")],
    )
    def test_an_unknown_section_names_the_nearest(self, place: str, near: str) -> None:
        with pytest.raises(InputError, match=f"{place}.*did you mean '{near}'") as refused:
            find_section(place)
        assert "\n" not in str(refused.value)

    def test_a_key_that_is_like_no_other_has_no_nearest(self) -> None:
        with pytest.raises(
            InputError, match=r"no section or key 'recipe\.zzz'; `prune-or-search list config recipe` shows"
        ):
            find_section("recipe.zzz")


class TestCommand:
    def test_one_section_is_printed(self) -> None:
        out = said("config", "routes.prune")
        assert "rounds: whole number; at least 2, at most 1,000; default 3" in out
        assert "dataset" not in out

    def test_all_are_printed(self) -> None:
        out = said("config")
        for section in sections():
            assert all(place in out for place in section.places)
            assert all(f"  {key.name}: " in out for key in section.keys)

    @pytest.mark.parametrize("words", [["criteria", "lamp"], ["criteria", "--markdown"], ["--json-schema"]])
    def test_options_of_config_go_with_nothing_else(self, words: list[str]) -> None:
        result = CliRunner().invoke(app, ["list", *words])
        assert isinstance(result.exception, InputError) and "config alone" in str(result.exception)


class TestStored:
    @pytest.mark.parametrize(("file", "option"), [("config.md", "--markdown"), ("study.schema.json", "--json-schema")])
    def test_docs_are_what_the_command_prints(self, file: str, option: str) -> None:
        stored = (ROOT / "docs" / file).read_text(encoding="utf-8")
        assert stored == said("config", option), f"prune-or-search list config {option} > docs/{file}"


class TestSchema:
    def problems(self, raw: Any) -> list[str]:
        return [error.message for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(raw)]

    @pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
    def test_the_studies_fit_it(self, path: Path) -> None:
        for document in read_yaml(path.read_text(encoding="utf-8")):
            assert self.problems(json.loads(json.dumps(document.value))) == []

    def test_what_a_config_refuses_it_refuses(self) -> None:
        raw = read_yaml((ROOT / "studies/quickstart.yaml").read_text(encoding="utf-8"))[0].value
        assert "'recipes' was unexpected" in self.problems({**raw, "recipes": {}})[0]
        assert "None" in self.problems({**raw, "seed": None})[0]
        assert "less than the minimum" in self.problems({**raw, "replicates": 0})[0]
        assert self.problems({key: value for key, value in raw.items() if key != "routes"})
