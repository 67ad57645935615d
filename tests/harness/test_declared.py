"""A parent with a declared cost: what a config may declare, and how `plan`, `run` and a resumed study treat it."""

import json
import shutil

import pytest
import yaml
from inline_runs import quick

from accounting.words.names import Unit, parse_device_hours
from harness.planning.speeds import Speeds


@pytest.mark.parametrize(
    ("text", "hours", "unit"),
    [
        ("1200 GPU-hours", 1200.0, Unit.GPU_HOURS),
        ("1,200.5 gpu hours", 1200.5, Unit.GPU_HOURS),
        ("8 GPU-days", 192.0, Unit.GPU_HOURS),
        ("1 GPU-hour", 1.0, Unit.GPU_HOURS),
        ("2 gpu_h", 2.0, Unit.GPU_HOURS),
        ("30 CPU core-minutes", 0.5, Unit.CPU_CORE_HOURS),
        ("0.5 core-hours", 0.5, Unit.CPU_CORE_HOURS),
        ("0 GPU-hours", 0.0, Unit.GPU_HOURS),
    ],
)
def test_amounts_of_device_time(text, hours, unit):
    assert parse_device_hours(text) == (pytest.approx(hours), unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1200",
        "GPU-hours",
        "1200 hours",
        "-1 GPU-hours",
        "1e9999 GPU-hours",
        "9" * 50,
        "1 TPU-hour",
        "1,5 GPU-hours",
        "0,25 GPU-hours",
        "12,00 GPU-hours",
        ",5 GPU-hours",
        "0,034 GPU-hours",
    ],
)
def test_what_is_no_amount_of_device_time(text):
    with pytest.raises(ValueError, match="is not a cost in devices × time"):
        parse_device_hours(text)


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        ({"declared_cost": "1200 GPU-hours"}, "declared_cost and source go together"),
        ({"source": "a paper"}, "declared_cost and source go together"),
        ({"declared_cost": "much", "source": "a paper"}, "declared_cost: 'much' is not a cost in devices × time"),
    ],
)
def test_a_declaration_that_cannot_be(parent, said, tiny, write_config, command):
    tiny["parent"] |= parent
    code, out, err = command("plan", write_config(tiny))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


@pytest.fixture
def declared(tiny):
    tiny["parent"] |= {"declared_cost": "3 CPU core-hours", "source": "model card"}
    tiny["resources"] = {"device": "cpu"}
    return tiny


def test_plan_prints_it_as_declared_and_in_no_figure(declared, tiny_study, write_config, command, monkeypatch):
    monkeypatch.setattr("harness.plan.measure_speeds", lambda *_: Speeds(1e9))
    code, out, _ = command("plan", write_config(declared))
    assert code == 0
    assert "parent: declared, not planned here: 3 CPU core-hours (model card); in no figure below" in out
    with_it = json.loads(command("plan", write_config(declared), "--json")[1])
    del declared["parent"]["declared_cost"], declared["parent"]["source"]
    without = json.loads(command("plan", write_config(declared), "--json")[1])
    assert with_it["hours"] == without["hours"]
    assert with_it["parent"]["declared_cost"] == "3 CPU core-hours"


@pytest.mark.parametrize("words", [["plan"], ["run", "--backend", "inline"]])
def test_another_unit_than_the_studys_is_refused(words, declared, write_config, command, tmp_path):
    declared["parent"]["declared_cost"] = "1200 GPU-hours"
    code, out, err = command(*words, write_config(declared), "--out", tmp_path / "study")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "parent.declared_cost: '1200 GPU-hours' given, and this study's costs are in CPU core-hours" in err
    assert not (tmp_path / "study" / "study.yaml").exists()


def test_a_study_that_was_run_may_declare_it_later(declared, tiny_study, write_config, command, tmp_path):
    """Declaring changes no job, so nothing runs again; the change is recorded."""
    folder = tmp_path / "study"
    shutil.copytree(tiny_study, folder)
    del declared["resources"]
    with quick():
        code, _, err = command("run", write_config(declared), "--out", folder, "--backend", "inline")
    assert (code, err) == (0, "")
    told = json.loads(command("answer", folder, "--json")[1])
    assert told["declared_parent"] == {
        "hours": 3.0, "unit": "cpu_core_hours", "text": "3 CPU core-hours", "source": "model card",
    }  # fmt: skip
    assert [change["key"] for change in told["answers"][0]["extensions"]] == ["parent.declared_cost", "parent.source"]
    config = yaml.safe_load((folder / "study.yaml").read_text())
    assert config["parent"]["declared_cost"] == "3 CPU core-hours"
    cost = json.loads(command("cost", folder, "--json")[1])
    assert cost["declared_parent"]["hours"] == 3.0
    assert cost["totals"][0]["allocated_hours"] < 1
