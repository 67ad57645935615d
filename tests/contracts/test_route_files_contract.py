"""Every route file defines its parts and is read without torch; adding one file is enough to add a route."""

import ast
import copy
import dataclasses
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_routes_contract import CONFIG, SEEDS, play

import harness.routes
from accounting.ledger.records import Phase
from accounting.study import plugins
from accounting.study.facts import StudyDocument, StudyFacts
from accounting.words import names
from accounting.words.names import MARKERS, ROUTES, Role, RouteWords
from harness.config import route_files, routes
from harness.config.plugin_files import use_listed
from harness.config.reference import find_section, json_schema
from harness.config.route_section import RouteSection
from harness.config.study import load_configs, parse_config
from harness.console.plan_summary import summarise
from harness.jobs.spec import DEFAULTS, to_json
from harness.routes.base import View
from harness.stored.content import Content
from harness.stored.study_file import StudyFolder, check_folder, write_study
from harness.validation import check_study, make_routes

ROOT = Path(__file__).parents[2]
FOUND = route_files.packaged_routes()


def study(route: str) -> dict:
    """The smallest study with this route, the routes that it listens to and those whose sections it uses."""
    config = copy.deepcopy(CONFIG) | {"routes": {}, "targets": ["0.4M"], "replicates": 1}
    wanted = [route]
    for name in wanted:
        section = route_files.section_class(name)
        config["routes"][name] = copy.deepcopy(CONFIG["routes"].get(name, {}))
        others = [part.else_of for part in (section.SEARCH, section.PRUNING) if part is not None]
        wanted += [other for other in (*others, *section.LISTENS_TO) if other and other not in wanted]
        if section.SEARCH is not None and section.SEARCH.key == "":
            config["routes"][name].setdefault("strategy", {"num_trials": 4})
    return config


@pytest.fixture(scope="module", params=FOUND)
def route(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def view(route) -> View:
    return check_study(parse_config(study(route), "contract"), need_data=False)


class TestWords:
    def test_say_what_it_is_called(self, route):
        words = route_files.words_in(route)
        assert words.text and words.phrase and words.summary.endswith(".")
        assert words.colour is None or re.fullmatch(r"#[0-9A-F]{6}", words.colour)
        assert {words.marker, *(kind.marker for kind in words.labels)} <= set(MARKERS)

    def test_are_its_own(self):
        for field in ("text", "colour", "rank"):
            said = [value for name in FOUND if (value := getattr(route_files.words_in(name), field)) is not None]
            assert len(set(said)) == len(said), field
        labels = [kind.label for name in FOUND for kind in route_files.words_in(name).labels]
        assert len({*labels, *FOUND}) == len(labels) + len(FOUND)

    def test_are_read_as_they_are_written(self, route):
        words = route_files.words_in(route)
        kept = {field: getattr(words, field) for field in ("role", "text", "colour", "marker", "rank", "labels")}
        assert RouteWords.read(route, words.as_dict()) == RouteWords(**kept)

    def test_are_those_of_old_studies_where_these_had_the_route(self, route):
        if route in ROUTES:
            words = route_files.words_in(route)
            assert ROUTES[route] == dataclasses.replace(words, phrase="", summary=ROUTES[route].summary)

    def test_that_are_no_words_are_as_if_nothing_was_said(self):
        odd = {
            "role": "king",
            "text": 3,
            "colour": "red; x",
            "marker": "<b>",
            "rank": "first",
            "labels": [1, {"label": 2}],
        }
        assert RouteWords.read("my_route", odd) == RouteWords(Role.CONTROL, "my route")


class TestFile:
    def test_brings_a_section_and_a_machine_of_its_name(self, route):
        module = importlib.import_module(f"harness.routes.{route}")
        assert issubclass(module.Config, RouteSection)
        assert module.Route.name == route

    def test_names_routes_that_there_are(self, route):
        section = route_files.section_class(route)
        parts = [part.else_of for part in (section.SEARCH, section.PRUNING) if part is not None and part.else_of]
        assert {*section.LISTENS_TO, *parts} <= {*FOUND}

    def test_is_imported_without_torch(self):
        code = "import sys\nfrom harness.config.route_files import packaged_routes, section_class\n"
        code += "[section_class(name) for name in packaged_routes()]\nassert not {'torch', 'timm', 'ray'} & set(sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


class TestMachine:
    def test_ends_with_the_same_jobs_in_any_order_of_outcomes(self, route, view):
        first = {name: to_json(job) for name, job in play(view, order=0, slots=1).items()}
        assert any(job["route"] == route for job in first.values())
        for order in list(SEEDS)[1:3]:
            assert {name: to_json(job) for name, job in play(view, order=order).items()} == first

    def test_delivers_what_its_role_says(self, route, view):
        jobs = play(view, order=1).values()
        labels = {job.work.label for job in jobs if job.route == route and hasattr(job.work, "label")}
        words = route_files.words_in(route)
        assert (route in labels) == words.delivers_its_own
        assert labels <= {route, *(kind.label for kind in words.labels)}

    def test_is_asked_after_those_whom_it_hears(self, route, view):
        turns = [each.name for each in make_routes(view, 0)]
        section = route_files.section_class(route)
        assert all(turns.index(other) < turns.index(route) for other in section.LISTENS_TO)

    def test_says_its_parts_and_phases_without_being_known_by_name(self, route, view):
        power = view.config.routes.powers[route]
        assert (route in view.config.routes.searches) == (power.SEARCH is not None)
        assert (route in view.config.routes.prunings) == (power.PRUNING is not None)
        for phase in power.phases(view.config, ("routes", route)):
            assert phase.place[:2] == ("routes", route)
        assert list(power.problems(view.config, route)) == []


SEVENTH = ROOT / "examples" / "plugins" / "smallest.py"


@pytest.fixture
def one_file_more(tmp_path):
    """The folder of routes with one additional file and nothing else changed."""

    def forget():
        for found in (plugins._installed, route_files.packaged_routes, routes._with_keys, json_schema):
            found.cache_clear()

    places = harness.routes.__spec__.submodule_search_locations
    (tmp_path / "more").mkdir()
    shutil.copy(SEVENTH, tmp_path / "more")
    places.append(str(tmp_path / "more"))
    known = dict(names._known.words)
    forget()
    yield
    places.remove(str(tmp_path / "more"))
    sys.modules.pop("harness.routes.smallest", None)
    names._known.words = known
    forget()


def test_a_file_may_say_its_role_alone(tmp_path):
    file = tmp_path / "quiet.py"
    file.write_text("ROLE = 'measures'\n\n\nclass Route:\n    pass\n")
    try:
        plugins.use([plugins.read_plugin(file)])
        assert (route_files.words_in("quiet").role, route_files.words_in("quiet").text) == (Role.MEASURES, "quiet")
        file.write_text("ROLE = 'king'\n\n\nclass Route:\n    pass\n")
        plugins.use([plugins.read_plugin(file)])
        with pytest.raises(ValueError, match="quiet: ROLE is 'king'; allowed: compared, challenger, control, measures"):
            route_files.words_in("quiet")
    finally:
        plugins.use([])


def test_what_a_study_called_its_routes_is_not_known_to_the_next():
    """Two studies in one process: the second has nothing of the first's own route."""
    use_listed([str(SEVENTH)])
    check_study(parse_config({**CONFIG, **SEVEN}, "first"), need_data=False)
    assert "smallest" in names.routes_of(Role.CHALLENGER)
    use_listed([])
    check_study(parse_config(CONFIG, "second"), need_data=False)
    assert "smallest" not in names.routes_of(Role.CHALLENGER)


SEVEN = {"routes": {"smallest": {"epochs": 2}, "prune": {"finetune": {"epochs": 1}}}, "budget": {"smallest": "2 h"}}


class TestOneFileMore:
    """A packaged route is one file in the folder; everything that asks for routes finds it."""

    def test_is_in_configs_and_where_they_are_looked_up(self, one_file_more, tmp_path):
        config = parse_config({**CONFIG, **SEVEN}, "seven")
        assert (config.routes.smallest.epochs, config.budget.smallest) == (2, 2.0)
        assert config.routes.names == ["prune", "smallest"]
        summary = {key.name: key.description for key in find_section("routes").keys}["smallest"]
        assert summary == "Trains the smallest twice."
        assert [key.span for key in find_section("routes.smallest").keys] == ["at least 1, at most 10"]
        (tmp_path / "study.yaml").write_text("routes: {smalest: {}}\n")
        with pytest.raises(Exception, match="did you mean 'smallest'"):
            load_configs(tmp_path / "study.yaml")

    def test_is_planned_charged_and_run(self, one_file_more):
        config = parse_config({**CONFIG, **SEVEN, "replicates": 1}, "seven")
        summary = summarise(config)
        assert {row["route"] for row in summary["per_target"]} == {"prune", "smallest"}
        assert [each.name for each in make_routes(check_study(config, need_data=False), 0)] == ["prune", "smallest"]

    def test_is_called_so_by_those_who_read_the_study_and_not_the_file(self, one_file_more, tmp_path):
        config = parse_config({**CONFIG, **SEVEN}, "seven")
        paths = StudyFolder(tmp_path / "study")
        write_study(check_folder(config, paths), Content(), {}, paths)
        document = StudyDocument.read(paths.config)
        assert document.facts["outside_routes"] == {}
        found = StudyFacts.of(document, paths.config)
        assert found.challengers[-1] == "smallest"
        names.learn(found.words)
        assert names.label_text("smallest") == "the smallest"
        assert names.words_of("smallest").colour == "#123456"
        assert names.label_rank("smallest") < names.label_rank("scratch_family")


AT_HOME = ("harness/routes/", "accounting/words/names.py")
ASKS = (
    "config/errors.py", "config/file.py", "config/no_effect.py", "config/plugin_files.py", "config/routes.py",
    "latency/target.py", "models/parent_check.py", "plan.py", "scheduling/scheduler.py", "stored/study_file.py",
    "validation.py",
)  # fmt: skip
"""Files of ``harness`` that once knew the routes by name."""
KEPT = {"accounting/study/facts.py": 2, "harness/starter/write.py": 1}
"""What old studies said of their methods, and the control in a starter study."""


def literals(path: Path, words: set[str]) -> int:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return sum(isinstance(node, ast.Constant) and node.value in words for node in nodes)


def test_routes_are_named_in_their_files_and_nowhere_else():
    """Names that are also a phase's or a spec key's are searched for only in the files that ask for routes."""
    words = set(FOUND) - {str(phase) for phase in Phase} - set(DEFAULTS)
    assert {"scratch", "search_then_prune"} <= words
    found = {
        place: count
        for package in ("harness", "accounting", "reports")
        for path in sorted((ROOT / package).rglob("*.py"))
        if not (place := path.relative_to(ROOT).as_posix()).startswith(AT_HOME) and (count := literals(path, words))
    }
    assert found == KEPT
    assert {name: literals(ROOT / "harness" / name, set(FOUND)) for name in ASKS} == dict.fromkeys(ASKS, 0)


def test_a_spare_colour_is_no_routes_own():
    from reports.words.colours import SPARE_COLOURS

    own = {route_files.words_in(name).colour for name in route_files.packaged_routes()}
    assert not own & set(SPARE_COLOURS)


def test_a_refusal_that_names_its_section_names_it_once():
    from dataclasses import replace

    from harness.errors import InputError

    config = copy.deepcopy(CONFIG) | {"routes": {"prune": {}, "subnet_search": {"strategy": {"num_trials": 4}}}}
    view = check_study(parse_config(config, "test"), need_data=False)
    with pytest.raises(InputError, match=r"^routes\.subnet_search scores on one half"):
        make_routes(replace(view, info=replace(view.info, num_val=1)), 0)
