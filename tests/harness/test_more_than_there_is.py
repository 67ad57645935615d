"""A job that holds more devices than there are is refused by ``run`` before anything is written; ``plan`` warns of it."""

import json
from pathlib import Path

import pytest
import torch

from accounting.study.folder import StudyFolder
from harness.backends import inline
from harness.config.study import parse_config
from harness.console import plan_summary
from harness.planning.speeds import Speeds


@pytest.fixture(autouse=True)
def on_two_cores(monkeypatch):
    monkeypatch.setattr(inline, "num_cores", lambda: 2)
    monkeypatch.setattr(plan_summary, "num_cores", lambda: 2)
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


def test_in_one_process_a_share_of_a_core_counts_as_the_whole_that_nobody_else_can_use(tiny):
    tiny["resources"] = {"device": "cpu", "devices_per_job": {"pretrain": 0.25, "finetune": 1.5}}
    with inline.inline_backend(parse_config(tiny, "tiny"), StudyFolder(Path())) as backend:
        assert [entry["amount"] for entry in backend.capacity] == [1.5]
    tiny["resources"] = {"device": "cpu", "devices_per_job": 0.25}
    with inline.inline_backend(parse_config(tiny, "tiny"), StudyFolder(Path())) as backend:
        assert [entry["amount"] for entry in backend.capacity] == [1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_model_of_gpu_where_there_is_none_is_refused(tiny, write_config, refuses):
    tiny["resources"] = {"device_kind": "NVIDIA H100 80GB HBM3"}
    refuses(
        ["run", write_config(tiny), "--backend", "inline"], "H100", "there is no GPU here; remove it to use CPU cores"
    )
