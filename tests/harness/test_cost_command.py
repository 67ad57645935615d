"""``prune-or-search cost``: what it refuses in one line, and that it runs and imports nothing unnecessary."""

import json
import os
import tarfile
from pathlib import Path

import pytest
import yaml
from refusals import assert_refused
from test_refusals_are_quick import imported

from accounting.cost.prices import read_prices
from accounting.study.folder import StudyFolder

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "prices").glob("*.yaml"))


@pytest.fixture
def old_study(tmp_path):
    """A study run by older code: cost rules 1, no plan, no labels."""
    with tarfile.open(ROOT / "tests" / "golden" / "prune_only.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "prune_only"


def test_an_old_study_is_read_as_it_is(old_study, command, snapshot):
    before = snapshot(old_study)
    code, out, err = command("cost", old_study)
    assert (code, err) == (0, "")
    assert "no plan is on record" in out and "not measured" in out
    for options in (["--json"], ["--csv"], ["--show", "owner", "--show", "labels"]):
        assert command("cost", old_study, *options)[0] == 0
    assert snapshot(old_study) == before


def test_a_study_that_was_run_has_its_plan_beside_what_became_of_it(tiny_study, command):
    cost = json.loads(command("cost", tiny_study, "--json")[1])
    (plan,) = cost["plans"]
    assert plan["hours"] > 0 and plan["speed_macs_per_s"] > 0
    assert cost["finished"] and cost["forecast"]["left_hours"] == 0
    steps = cost["planned_against_actual"]
    assert all(step["jobs_planned"] == step["jobs_done"] > 0 for step in steps)
    assert sum(step["planned_hours"] for step in steps) == pytest.approx(plan["hours"])


def test_the_total_is_that_of_audit(old_study, command):
    cost = json.loads(command("cost", old_study, "--json")[1])
    audit = json.loads(command("audit", old_study, "--json")[1])
    held_h = sum(balance["allocated_s"] for balance in audit["balances"]) / 3600
    assert cost["totals"][0]["allocated_hours"] == pytest.approx(held_h)
    assert cost["audit"] == {"unit": "cpu_core_hours", "allocated_hours": pytest.approx(held_h), "adds_up": True}
    assert f"total: {held_h:.6f} CPU core-hours held by attempts and start-ups" in command("audit", old_study)[1]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_prices_are_prices_with_sources(example, old_study, command):
    prices = read_prices(example)
    assert all(len(stated.source) > 20 for stated in prices.devices.values())
    code, out, _ = command("cost", old_study, "--prices", example)
    assert code == 0
    assert f"{prices.devices['cpu_core'].value:g} {prices.currency} an hour" in out


def test_prices_beside_the_study_are_used_unless_others_are_given(old_study, command):
    StudyFolder(old_study).prices.write_text(EXAMPLES[0].read_text())
    assert json.loads(command("cost", old_study, "--json")[1])["prices"]["currency"] == "USD"
    given = command("cost", old_study, "--json", "--prices", EXAMPLES[1])
    assert json.loads(given[1])["prices"]["currency"] == "EUR"


def test_money_is_never_stored(old_study, command):
    StudyFolder(old_study).prices.write_text(EXAMPLES[0].read_text())
    then = json.loads(command("cost", old_study, "--json")[1])["totals"][0]["money"]
    document = yaml.safe_load(EXAMPLES[0].read_text())
    document["devices"]["cpu_core"]["price_per_hour"] *= 2
    document["devices"]["cpu_core"]["date"] = "2026-11-26"
    for section in (*document["devices"].values(), document["pue"], document["grid"]):
        section["date"] = str(section["date"])
    StudyFolder(old_study).prices.write_text(yaml.safe_dump(document))
    assert json.loads(command("cost", old_study, "--json")[1])["totals"][0]["money"] == pytest.approx(2 * then)


class TestRefused:
    def test_a_device_without_a_price(self, old_study, command, tmp_path):
        prices = tmp_path / "gpus.yaml"
        prices.write_text(
            "devices:\n  cuda: {price_per_hour: 3, currency: USD, date: 2026-11-26, source: the bill of a test}\n"
        )
        assert_refused(
            command("cost", old_study, "--prices", prices), str(prices), "no price for", "it has cuda", "add one"
        )

    def test_currencies_that_are_mixed(self, old_study, command, tmp_path):
        prices = tmp_path / "mixed.yaml"
        prices.write_text(EXAMPLES[0].read_text().replace("currency: USD", "currency: EUR", 1))
        assert_refused(
            command("cost", old_study, "--prices", prices), "currencies EUR, USD given", "convert all prices"
        )

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["--prices", "nowhere.yaml"], "nowhere.yaml: No such file or directory"),
            (["--show", "wages"], "--show wages: allowed are total, route, phase"),
            (["--json", "--csv"], "give one of them"),
            (["--json", "--show", "plan"], "give one of them"),
        ],
    )
    def test_options(self, words, says, old_study, command):
        assert_refused(command("cost", old_study, *words), says)

    def test_a_plan_that_is_damaged(self, old_study, command):
        StudyFolder(old_study).plans.mkdir()
        (StudyFolder(old_study).plans / "plan-0001.json").write_text("{")
        assert_refused(command("cost", old_study), "plan-0001.json cannot be read", "move it away")

    def test_a_folder_that_is_no_study(self, tmp_path, command):
        assert_refused(command("cost", tmp_path), "is not a study")


@pytest.mark.parametrize("words", [[], ["--json"], ["--csv"], ["--prices", EXAMPLES[0]]])
def test_it_imports_neither_torch_nor_ray_nor_anything_that_draws(words, old_study, tmp_path):
    code, heavy = imported(["cost", old_study, *words], tmp_path)
    assert (code, heavy) == (0, [])


def test_nothing_that_a_study_names_is_executed(old_study, command):
    trap = old_study / "plugins" / "trap.py"
    trap.parent.mkdir()
    trap.write_text("from pathlib import Path\nPath(__file__).with_name('executed').touch()\n")
    document = yaml.safe_load((old_study / "study.yaml").read_text())
    (document.get("study") or document)["plugins"] = [str(trap)]
    (old_study / "study.yaml").write_text(yaml.safe_dump(document))
    assert command("cost", old_study)[0] == 0
    assert [path.name for path in trap.parent.iterdir()] == ["trap.py"]


@pytest.mark.parametrize("colour", ["NO_COLOR", "FORCE_COLOR"])
def test_the_text_is_plain_with_and_without_colour(colour, old_study, command, monkeypatch):
    monkeypatch.setenv(colour, "1")
    monkeypatch.setitem(os.environ, "COLUMNS", "80")
    out = command("cost", old_study)[1]
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"team": 7}, "labels.team: 7 given; allowed is text, in quotes"),
        ({"a b": "x"}, "labels.a b"),
        ({"team": ""}, "labels.team: '' given; allowed is 1 or more characters"),
        (["team"], "labels: ['team'] given; allowed is a section of keys with values"),
    ],
)
def test_labels_are_names_with_texts(labels, says, tiny, write_config, command):
    assert_refused(command("plan", write_config(tiny | {"labels": labels})), says)
