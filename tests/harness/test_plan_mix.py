"""Plans of studies that declare what hours on other GPU models count as: hours of the reference, whatever was measured."""

import json
import subprocess
from dataclasses import replace

import pytest
import yaml

from accounting.study.folder import StudyFolder
from accounting.study.plans import read_plans
from harness.config.study import parse_config
from harness.console import plan_summary
from harness.errors import InputError
from harness.keep_plan import keep_plan
from harness.plan import plan_at, plan_elsewhere
from harness.planning.hardware import parse_fleets
from harness.planning.speeds import Speeds
from harness.stored.study_file import check_folder
from harness.validation import check_study
from harness.work import price

A100, H100, T4 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "Tesla T4"
RATE = {"hours": 0.5, "low": 0.4, "high": 0.8, "source": "ours"}
SPEED = Speeds(1e6)
PRICES = """
devices:
  A100-80GB: {price_per_hour: 2, currency: USD, date: 2026-11-01, source: a list}
  H100-80GB: {price_per_hour: 5, currency: USD, date: 2026-11-02, source: a list}
"""


@pytest.fixture
def declared(tiny):
    return {**tiny, "resources": {"device_kind": H100, "equivalent": {A100: RATE}}}


@pytest.fixture
def view(declared, monkeypatch):
    """Of jobs that take no time to start, so that all seconds are in proportion to the speed."""
    monkeypatch.setattr(price, "OVERHEAD_S", dict.fromkeys(price.OVERHEAD_S, 0.0))
    return check_study(parse_config(declared, "test"), need_data=False)


def hours_of(plan):
    return plan.hours, plan.wall_s


def test_the_other_model_alone_has_the_reference_hours_and_lasts_as_measured(view):
    """At the same speed, an A100 takes as long as an H100 would at that speed, and its hours count as half."""
    h100, a100 = (plan_at(view, SPEED, model, {model: 1.0}, "cuda") for model in (H100, A100))
    assert a100.hours == pytest.approx(h100.hours / 2)
    assert a100.wall_s == pytest.approx(h100.wall_s)
    assert a100.held_h == {A100: pytest.approx(h100.hours)}
    assert (h100.ends, h100.rate, a100.rate) == ((), 1.0, 0.5)
    assert sorted(plan.hours for plan in a100.ends) == pytest.approx([0.4 * h100.hours, 0.8 * h100.hours])
    assert {round(plan.wall_s, 6) for plan in a100.ends} == {round(a100.wall_s, 6)}


def test_a_mix_has_the_hours_of_the_reference_and_is_quicker_than_it_alone(view):
    alone = plan_at(view, SPEED, H100, {H100: 1.0}, "cuda")
    mix = plan_at(view, SPEED, H100, {A100: 1.0, H100: 1.0}, "cuda")
    assert mix.hours == pytest.approx(alone.hours)
    assert alone.wall_s / 1.5 <= mix.wall_s < alone.wall_s
    held = mix.held_h
    assert held[H100] + held[A100] / 2 == pytest.approx(mix.hours)
    told = mix.summary(view.config)
    assert told["at_rate_ends"]["hours"] == pytest.approx([mix.hours, mix.hours])
    assert told["at_rate_ends"]["wall_hours"][0] < told["at_rate_ends"]["wall_hours"][1]
    assert {one["model"]: one["hours"] for one in told["held"]} == held


def test_models_that_are_not_declared_are_planned_as_they_are(view):
    plan = plan_at(view, SPEED, T4, {T4: 2.0}, "cuda")
    assert (plan.num_devices, plan.ends, plan.rate, list(plan.held_h)) == (2.0, (), 1.0, [T4])


def test_several_fleets_need_a_declaration(view, tiny):
    fleets = parse_fleets("1x H100-80GB, 2x A100-80GB")
    plan = plan_elsewhere(view, fleets)
    assert (plan.num_devices, plan.fleets) == (3, fleets)
    assert set(plan.held_h) <= {A100, H100}
    plain = replace(view, config=parse_config(tiny, "test"))
    with pytest.raises(InputError, match=r"only if resources\.device_kind and resources\.equivalent name all of them"):
        plan_elsewhere(plain, fleets)
    with pytest.raises(InputError, match="name each device once"):
        parse_fleets("T4, 2x T4")


def test_the_command_says_rates_ends_and_money(command, declared, write_config):
    path, prices = write_config(declared), str(write_config(PRICES, "prices.yaml"))
    fleets = ["--on", "1x H100-80GB, 2x A100-80GB", "--prices", prices]
    code, out, err = command("plan", path, *fleets, "--json")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    held = {one["model"]: one["hours"] for one in plan["held"]}
    assert plan["money"]["amount"] == pytest.approx(5 * held[H100] + 2 * held[A100])
    assert plan["equivalent"] == f"hours on {A100} count as 0.5 (0.4 to 0.8) hours on {H100}: ours"
    text = command("plan", path, *fleets)[1]
    assert plan["equivalent"] in text
    assert "at the ends of the declared rates " in text
    assert "on 1x H100-80GB, 2x A100-80GB (" in text
    other = json.loads(command("plan", path, "--on", "T4", "--json")[1])
    assert (other["equivalent"], other["at_rate_ends"]) == (None, None)
    assert any("it will not run on these" in warning for warning in other["warnings"])


def test_here_the_first_gpu_is_the_measured_one(monkeypatch):
    names = [A100, H100, A100]
    monkeypatch.setattr(plan_summary.torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(plan_summary.torch.cuda, "get_device_name", names.__getitem__)
    assert list(plan_summary._here("cuda").items()) == [(A100, 2.0), (H100, 1.0)]


def test_a_plan_in_a_ledger_knows_the_mix(declared, tmp_path, monkeypatch):
    done = subprocess.CompletedProcess([], 0, json.dumps([A100, 1e6, [], 1.0, []]).encode() + b"\n", b"")
    monkeypatch.setattr("harness.keep_plan.subprocess.run", lambda *_, **__: done)
    config, paths = parse_config(yaml.safe_load(yaml.safe_dump(declared)), "test"), StudyFolder(tmp_path)
    view = check_study(config, need_data=False)
    capacity = [
        {"device": f"GPU-{n}", "device_kind": "cuda", "amount": 1.0, "name": name, "node": "n"}
        for n, name in enumerate((H100, A100))
    ]
    keep_plan(view, check_folder(config, paths), capacity, "s1", paths)
    (kept,) = read_plans(paths)
    assert (kept.num_devices, kept.note) == (2.0, None)
    assert kept.hours == pytest.approx(plan_at(view, SPEED, A100, {A100: 1.0}, "cuda").hours)
