"""A job that holds more devices than there are is refused by ``run`` before anything is written; ``plan`` warns of it."""

import json

import pytest

from harness.backends import inline
from harness.console import show_plan
from harness.planning.speeds import Speeds


@pytest.fixture(autouse=True)
def on_two_cores(monkeypatch):
    monkeypatch.setattr(inline, "num_cores", lambda: 2)
    monkeypatch.setattr(show_plan, "num_cores", lambda: 2)
    monkeypatch.setattr("harness.plan.measure_speeds", lambda *_: Speeds(1e9))


@pytest.mark.parametrize("held", [64, 2.5, {"finetune": 3}])
def test_run_in_this_process_refuses_it(held, tiny, write_config, refuses):
    tiny["resources"] = {"device": "cpu", "devices_per_job": held}
    refuses(
        ["run", write_config(tiny), "--backend", "inline"],
        "CPU cores, this process may use 2; lower devices_per_job",
    )


@pytest.mark.parametrize(
    ("held", "options", "said"),
    [
        (64, [], "a job of pretrain holds 64 CPU cores, and 2 are here"),
        ({"finetune": 2.5}, [], "a job of finetune holds 2.5 CPU cores, and 2 are here"),
        (8, ["--on", "4x A100-80GB"], "a job of pretrain holds 8 GPUs, and 4 are planned for"),
        (2, [], None),
        (0.25, ["--on", "1x A100-80GB"], None),
    ],
)
def test_plan_warns_of_it(held, options, said, tiny, write_config, command):
    tiny["resources"] = {"devices_per_job": held}
    code, out, err = command("plan", write_config(tiny), *options, "--json")
    assert (code, err) == (0, "")
    found = [line for line in json.loads(out)["warnings"] if "devices_per_job" in line]
    assert found == ([] if said is None else [f"resources.devices_per_job: {said}: `run` refuses that"])
