"""A rehearsal runs a study's own code in minutes, says what it changed, and never counts as a measurement."""

import json
import shutil

import pytest
import yaml
from inline_runs import quick

from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.config.study import parse_config
from harness.console.progress import Silent
from harness.study import Launch, run_study

SAYS = "rehearsal: not a measurement"


@pytest.fixture(scope="module")
def given(tiny_text):
    """The study that is rehearsed, as nested dicts."""
    config = yaml.safe_load(tiny_text)
    config |= {"targets": ["0.6M"], "dataset": {"name": "fashion_mnist_mini", "num_train": 600}}
    config["routes"]["search"]["strategy"]["num_trials"] = 12
    config["parent"]["pretrain"]["epochs"] = 40
    return config


@pytest.fixture(scope="module")
def folder(given, tmp_path_factory):
    """The folder of a finished rehearsal. Do not change it."""
    place = tmp_path_factory.mktemp("rehearsal") / "study"
    with quick():
        run_study(parse_config(given, "test"), place, Launch("inline", rehearse=True), Silent())
    return place


@pytest.fixture
def config(given, write_config):
    """The study's config file."""
    return write_config(given)


def test_every_route_delivers_with_what_was_cut(folder):
    started = [r for r in read_ledger(folder / "ledger").records if r["kind"] == Kind.ATTEMPT_STARTED]
    epochs = {r["job"]: r["spec"]["recipe"]["epochs"] for r in started if r["spec"]["recipe"]}
    assert epochs["prune-r0-pretrain"] == 2
    assert sum("candidate" in job for job in epochs) == 4
    assert {r["spec"]["recipe"]["batch_size"] for r in started if r["spec"]["recipe"]} == {16}
    delivered = {path.name for path in (folder / "models").glob("*/*")}
    assert delivered == {"prune", "search", "scratch_family", "scratch_pruned_structure"}


def test_the_ledger_and_study_yaml_have_what_was_changed(folder, command):
    opened = next(r for r in read_ledger(folder / "ledger").records if r["kind"] == Kind.SESSION_OPENED)
    assert opened["study"] == "tiny_rehearsal"
    changes = {each["key"]: (each["old"], each["new"]) for each in opened["rehearsal"]}
    assert changes == {
        "name": ("tiny", "tiny_rehearsal"),
        "dataset.num_train": (600, 96),
        "parent.pretrain.epochs": (40, 2),
        "recipe.epochs": (10, 2),
        "recipe.batch_size": (50, 16),
        "recipe.lr": (0.05, 0.016),
        "routes.search.strategy.num_trials": (12, 4),
        "routes.prune.finetune.lr": (0.05, 0.016),
    }
    assert "  - key: recipe.batch_size\n    old: 50\n    new: 16\n" in (folder / "study.yaml").read_text(
        encoding="utf-8"
    )
    code, out, _ = command("audit", folder)
    assert (code, out.splitlines()[-1]) == (0, "the ledger adds up")


@pytest.mark.parametrize("words", [("status",), ("cost",)])
def test_what_reads_it_says_what_it_is(words, folder, command):
    code, out, _ = command(*words, folder)
    assert (code, out.splitlines().count(f"warning: {SAYS}")) == (0, 1)


@pytest.mark.parametrize(
    "asked", [(), ("--macs", "0.6M"), ("--macs", "0.5M"), ("--top1", "0.1"), ("--budget", "1 core-hour")]
)
def test_no_question_has_an_answer(asked, folder, command):
    code, out, err = command("answer", folder, *asked)
    assert code == 2
    assert len((out + err).splitlines()) == 1
    assert SAYS in (out + err).lower()


def test_the_answer_as_json_is_not_comparable(folder):
    found = json.loads((folder / "report" / "answer.json").read_text(encoding="utf-8"))
    assert (found["verdict"], found["break_even"], found["further_routes"]) == ("not_comparable", None, {})
    assert {each["key"] for each in found["rehearsal"]} >= {"name", "recipe.epochs"}
    assert [(each["status"], each["reason"], each["verdict"]) for each in found["answers"]] == [("refused", SAYS, None)]
    assert found["sentence"].startswith("Rehearsal: not a measurement; 4 networks were delivered")
    assert found["lines"] == []


def test_the_page_says_it_first_and_lists_the_changes(folder):
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert page.index("Rehearsal: not a measurement") < page.index("What the rehearsal changed")
    assert "recipe.batch_size: 50 -&gt; 16" in page
    assert "so there is no verdict" in page


def test_compare_refuses_it(folder, tiny_study, command):
    code, out, err = command("compare", tiny_study, folder)
    assert (code, out) == (2, "")
    assert f"{folder} is a {SAYS}" in err
    assert len(err.splitlines()) == 1


def test_a_ledger_of_a_rehearsal_is_one_whatever_study_yaml_says(folder, tmp_path, command):
    edited = shutil.copytree(folder, tmp_path / "edited", ignore=shutil.ignore_patterns("checkpoints", "models"))
    text = (edited / "study.yaml").read_text(encoding="utf-8")
    begin = text.index("  rehearsal:\n")
    (edited / "study.yaml").write_text(text[:begin], encoding="utf-8")
    code, out, _ = command("answer", edited)
    assert (code, SAYS in out.lower()) == (2, True)


def test_it_is_continued_as_a_rehearsal_alone(folder, config, tiny_study, tmp_path, command, snapshot):
    mine = shutil.copytree(folder, tmp_path / "mine")
    before = snapshot(mine)
    code, out, err = command("run", config, "--out", mine, "--backend", "inline")
    assert (code, out) == (2, "")
    assert (
        err
        == f"error: {mine} has a rehearsal, which a study cannot continue; give --rehearse, or another folder with --out\n"
    )
    code, out, err = command("run", config, "--out", tiny_study, "--backend", "inline", "--rehearse")
    assert code == 2
    assert f"{tiny_study} has a study, which a rehearsal cannot continue" in err
    assert snapshot(mine) == before
    with quick():
        code, out, err = command("run", config, "--out", mine, "--backend", "inline", "--rehearse")
    assert code == 0
    assert "resumed with 15 jobs done" in out
    assert "started" not in out
    assert "changed recipe.batch_size: 50 -> 16\n" in out


def test_plan_says_what_it_would_change_and_its_price(config, command):
    with quick():
        code, out, _ = command("plan", config, "--rehearse", "--json")
    plan = json.loads(out)
    assert (code, plan["study"], plan["num_jobs"]) == (0, "tiny_rehearsal", 15)
    assert {"key": "recipe.batch_size", "old": 50, "new": 16} in plan["rehearsal"]
