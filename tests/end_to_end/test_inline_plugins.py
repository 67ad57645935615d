"""Plug-ins of a user's own: a study with a criterion, strategy, dataset and figure that are files outside the package."""

import json
import shutil
import time

import pytest
import yaml
from inline_runs import models, quick, records
from outside_plugins import ALL, STUDY

from accounting.audit.audit import audit
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.study import plugins
from harness.config.study import load_configs
from harness.console.plan_summary import summarise
from harness.console.progress import Silent
from harness.console.show_plan import format_plan
from harness.errors import InputError
from harness.study import Launch, run_study


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.events = []

    def tell(self, event):
        self.events.append(event)


@pytest.fixture(autouse=True)
def _no_files_left_in_use():
    yield
    plugins.use([])


def written(folder, study, files=ALL):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def run(path, out, progress=None):
    (config,) = load_configs(path)
    return run_study(config, out, Launch("inline", begin_t=time.time()), progress or Silent())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, not to be changed, the folder of its config, and what was told."""
    root, told = tmp_path_factory.mktemp("outside"), Told()
    page = run(written(root / "mine", STUDY), root / "study", told)
    plugins.use([])
    return root, page, told.events


class TestAStudyOfOutsideFiles:
    def test_delivers_by_every_one_of_them(self, finished):
        root, page, _ = finished
        labels = {model.parent.name for model in models(root / "study")}
        assert labels == {"prune", "search", "smallest"}
        specs = [record["spec"] for record in records(root / "study", Kind.ATTEMPT_STARTED)]
        assert {spec["prune"]["criterion"] for spec in specs if spec.get("prune")} == {"energy"}
        assert "Jobs by route" in page.read_text()
        assert (root / "study" / "report" / "figures" / "job_counts.svg").exists()
        assert not [f for f in audit(read_ledger(root / "study" / "ledger").records).findings if f.is_error]

    def test_a_challenger_from_outside_is_compared_with_pruning(self, finished):
        root, _, _ = finished
        answer = json.loads((root / "study" / "report" / "answer.json").read_text())
        assert "smallest" in json.dumps(answer)
        told = (root / "study" / "study.yaml").read_text()
        assert "smallest: challenger" in told

    def test_says_what_it_will_execute(self, finished):
        _, _, events = finished
        told = [event.text for event in events if event.name == "executes"]
        assert len(told) == len(ALL)
        assert all(any(name in text and "SHA-256" in text for text in told) for name in ALL)

    def test_is_on_record_with_copies_and_digests(self, finished):
        root, _, _ = finished
        held = yaml.safe_load((root / "study" / "study.yaml").read_text())["facts"]["plugins"]
        assert {each["name"] for each in held} == set(ALL)
        assert all((root / "study" / "plugins" / f"{name}.py").read_text() == text for name, text in ALL.items())

    def test_is_read_without_executing_anything(self, finished, tmp_path):
        root, _, _ = finished
        folder = shutil.copytree(root / "study", tmp_path / "forwarded")
        for file in (folder / "plugins").iterdir():
            file.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n" + file.read_text())
        from reports.answers.find import answer
        from reports.page.build import build_report
        from reports.status.build import status
        from reports.status.text import format_status

        build_report(folder)
        format_status(status(folder))
        answer(folder, 500_000)
        assert not (tmp_path / "executed").exists()

    def test_resumes_from_files_of_the_same_content_elsewhere(self, finished, tmp_path):
        root, _, _ = finished
        folder = shutil.copytree(root / "study", tmp_path / "study")
        before = len(records(folder, Kind.ATTEMPT_STARTED))
        with quick():
            run(written(tmp_path / "elsewhere", STUDY), folder)
        assert len(records(folder, Kind.ATTEMPT_STARTED)) == before
        assert records(folder, Kind.STUDY_EXTENDED) == []

    def test_one_more_file_is_an_extension_on_record(self, finished, tmp_path):
        root, _, _ = finished
        folder = shutil.copytree(root / "study", tmp_path / "study")
        more = ALL | {"further": ALL["energy"]}
        run(written(tmp_path / "more", STUDY | {"plugins": [*STUDY["plugins"], "further.py"]}, more), folder)
        (extended,) = records(folder, Kind.STUDY_EXTENDED)
        assert [change["key"] for change in extended["changes"]] == ["plugins"]

    def test_refuses_a_file_that_was_changed_or_is_not_named_any_more(self, finished, tmp_path):
        root, _, _ = finished
        folder = shutil.copytree(root / "study", tmp_path / "study")
        changed = ALL | {"energy": ALL["energy"].replace("** 2", "** 4")}
        with pytest.raises(InputError, match=r"energy\.py differs from when the study began .*restore it"):
            run(written(tmp_path / "changed", STUDY, changed), folder)
        fewer = STUDY | {"plugins": [name for name in STUDY["plugins"] if name != "job_counts.py"]}
        with pytest.raises(InputError, match=r"began with job_counts\.py.*name it under plugins again"):
            run(written(tmp_path / "fewer", fewer), folder)


def test_a_file_may_stand_in_place_of_a_name(tmp_path):
    study = json.loads(json.dumps(STUDY))
    study["plugins"] = ["energy.py", "smallest.py"]
    study["dataset"]["name"] = "./stripes.py"
    study["routes"]["search"]["strategy"]["name"] = str(tmp_path / "handful.py")
    (config,) = load_configs(written(tmp_path, study))
    assert (config.dataset.name, config.routes.search.strategy.name) == ("stripes", "handful")
    assert len(config.plugins) == 4


def test_plan_names_what_it_executes(tmp_path):
    (config,) = load_configs(written(tmp_path, STUDY))
    text = format_plan(summarise(config))
    assert f"executes {tmp_path / 'energy.py'} (criterion energy, SHA-256 " in text


ROUTE_MISTAKES = {
    "an unknown key": ({"routes": {"smallest": {"epoch": 1}}}, r"smallest\.epoch"),
    "out of its bounds": ({"routes": {"smallest": {"epochs": 11}}}, r"smallest\.epochs: .*allowed is 10 or less"),
    "a budget without a unit": ({"budget": {"smallest": 3}}, "budget"),
    "a budget of a route that the study has not": ({"routes": {}, "budget": {"smallest": "5 h"}}, "no route smallest"),
    "a route that nothing brings": ({"routes": {"smalest": {}}}, r"smalest.*did you mean"),
}


@pytest.mark.parametrize("case", ROUTE_MISTAKES)
def test_the_section_of_an_outside_route_is_checked(tmp_path, case):
    changes, words = ROUTE_MISTAKES[case]
    study = json.loads(json.dumps(STUDY)) | {k: v for k, v in changes.items() if k != "routes"}
    study["routes"] |= changes.get("routes", {})
    if not changes.get("routes", True):
        del study["routes"]["smallest"]
    with pytest.raises(InputError, match=words):
        load_configs(written(tmp_path, study))


def test_a_study_folder_runs_again_by_its_own_config_wherever_it_is_moved(finished, tmp_path):
    root, _, _ = finished
    folder = shutil.copytree(root / "study", tmp_path / "moved")
    before = len(records(folder, Kind.ATTEMPT_STARTED))
    with quick():
        run(folder / "study.yaml", folder)
    assert len(records(folder, Kind.ATTEMPT_STARTED)) == before


BAD = {
    "no such file": ({}, "energy.py: no such file"),
    "no Python": ({"energy": "class Criterion(:"}, r"energy\.py:1: not Python"),
    "no plug-in": ({"energy": "x = 1"}, r"defines none of Criterion \(criterion\), Strategy"),
    "a taken name": ({"magnitude": ALL["energy"]}, "a criterion 'magnitude' already; rename the file"),
    "a name that is no key": ({"My-Energy": ALL["energy"]}, "lower-case letters"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_one_is_refused_with_its_line(tmp_path, case):
    files, words = BAD[case]
    study = json.loads(json.dumps(STUDY))
    study["plugins"] = ["stripes.py", "handful.py", *(f"{name}.py" for name in files or {"energy": ""})]
    path = written(tmp_path, study, {k: v for k, v in ALL.items() if k != "energy"} | files)
    with pytest.raises(InputError, match=words) as refusal:
        load_configs(path)
    assert "study.yaml:" in str(refusal.value)


def test_a_file_that_fails_when_executed_is_refused_in_one_line(tmp_path):
    path = written(tmp_path, STUDY, ALL | {"stripes": "raise RuntimeError('no data today')\n" + ALL["stripes"]})
    (config,) = load_configs(path)
    with pytest.raises(InputError, match=r"stripes\.py fails: RuntimeError: no data today"):
        summarise(config)


def test_options_are_checked_by_name_and_type(tmp_path):
    study = json.loads(json.dumps(STUDY))
    study["dataset"]["options"] = {"num_image": 3}
    study["routes"]["search"]["strategy"]["options"] = {"pool": "many"}
    with pytest.raises(InputError, match="did you mean 'num_images'"):
        summarise(
            load_configs(
                written(tmp_path, study | {"budget": {}, "routes": {"prune": {"criterion": "global_energy"}}})
            )[0]
        )
    with pytest.raises(InputError, match="pool is 'many'"):
        load_configs(written(tmp_path, study))


def test_a_misspelt_name_of_an_outside_plug_in_has_its_nearest(tmp_path):
    study = json.loads(json.dumps(STUDY))
    study["routes"]["prune"]["criterion"] = "global_enrgy"
    with pytest.raises(InputError, match="did you mean 'global_energy'"):
        load_configs(written(tmp_path, study))
