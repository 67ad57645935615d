"""Exports of a study's networks are separate jobs that are charged to nobody; if they fail, no delivery is lost."""

import json

import pytest
from inline_runs import SMALL, metrics, models, records, run

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.cost.shares import POLICIES
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import read_ledger
from harness.delivery import exports
from reports.data.frames import load_frames
from reports.export.tables import build_tables

NAMES = [f"prune-r0-t600000-global_magnitude-finetune-evaluate-prune-export-{kind}" for kind in ("int8", "latency")]


def jobs(folder):
    return [record["job"] for record in records(folder, Kind.ATTEMPT_STARTED)]


@pytest.fixture
def config(tiny):
    tiny |= json.loads(json.dumps(SMALL))
    tiny["dataset"]["num_train"] = 100
    tiny["parent"]["pretrain"]["epochs"] = 1
    return tiny


def test_added_to_a_finished_study_they_alone_are_run(config, tmp_path):
    run(config, tmp_path / "study")
    before = jobs(tmp_path / "study")
    (network,) = load_frames(tmp_path / "study").delivered
    config["export"] = {"int8": True, "latency": True}
    run(config, tmp_path / "study")
    assert jobs(tmp_path / "study")[len(before) :] == NAMES
    run(config, tmp_path / "study")
    assert len(jobs(tmp_path / "study")) == len(before) + 2
    (exported,) = load_frames(tmp_path / "study").delivered
    assert not network.latency and exported.latency["n"] > 0
    assert exported.size_bytes["float"] == network.size_bytes["float"]
    (folder,) = models(tmp_path / "study")
    assert metrics(folder)["latency"] == exported.latency
    assert metrics(folder)["int8"] == exported.int8
    assert [exported.cost_h[policy] for policy in POLICIES] == [network.cost_h[policy] for policy in POLICIES]
    page = (tmp_path / "study" / "report" / "index.html").read_text()
    assert "exports (charged to no route)" in page
    view = derive(read_ledger(tmp_path / "study" / "ledger").records)
    assert {job.phase for job in view.jobs if job.job in NAMES} == {Phase.EXPORT}
    assert audit(read_ledger(tmp_path / "study" / "ledger").records).ok
    assert "deployments" in build_tables(load_frames(tmp_path / "study"), [])


def test_one_that_fails_is_a_warning_and_the_study_is_whole(config, tmp_path, monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise RuntimeError("no kernels here")

    monkeypatch.setattr(exports, "int8_report", fail)
    config |= {"export": {"int8": True, "latency": True}, "resources": {"max_attempts": 1}}
    run(config, tmp_path / "study")
    assert f"job {NAMES[0]} failed: RuntimeError: no kernels here; the network is delivered without it" in caplog.text
    assert [r["job"] for r in records(tmp_path / "study", Kind.JOB_ABANDONED)] == NAMES[:1]
    (folder,) = models(tmp_path / "study")
    assert metrics(folder)["latency"]["n"] > 0
    assert "int8" not in metrics(folder)


def test_no_budget_stops_them(config, tmp_path):
    run(config, tmp_path / "study")
    config |= {"export": {"latency": True}, "budget": {"prune": "0.001 s"}}
    run(config, tmp_path / "study")
    assert jobs(tmp_path / "study")[-1] == NAMES[1]


def test_plan_shows_them_apart(config, write_config, command, tmp_path):
    path = write_config(config | {"export": {"int8": True, "latency": True}})
    code, out, _ = command("plan", path)
    assert code == 0
    (line,) = [line for line in out.splitlines() if "exports (charged to no route)" in line]
    assert line.split()[0] == "prune"
    planned = json.loads(command("plan", path, "--json")[1])
    assert [row["num_jobs"] for row in planned["phases"] if row["phase"] == "export"] == [2]
