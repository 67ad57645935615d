"""The command line when all is well: list, plan, status, report, answer and audit, as text and as JSON."""

import json
import shutil
from pathlib import Path

import pytest

from accounting.macs import count_macs
from harness.errors import InputError, StudyFailed
from harness.models.build import build_network
from harness.planning.speeds import Speeds
from harness.plugins import list_all
from nas_baseline.spaces.families import network_spec

LARGE = ("contenders", "contenders_gpu", "fbnetv3_imagenet")
STUDIES = [
    pytest.param(path, marks=pytest.mark.slow if path.stem in LARGE else ())
    for path in sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))
]
TARGETS = [400_000, 600_000]


@pytest.fixture
def study(tiny_study, tmp_path):
    return shutil.copytree(tiny_study, tmp_path / "study", ignore=shutil.ignore_patterns("checkpoints"))


def said(result):
    code, out, err = result
    assert (code, err) == (0, "")
    return out


class TestList:
    def test_everything(self, command):
        out = said(command("list"))
        for kind, names in list_all().items():
            assert f"{kind}: {', '.join(names)}" in out.splitlines()

    def test_json_is_all_there_is(self, command):
        shown = json.loads(said(command("list", "--json")))
        assert shown == list_all()
        assert "global_magnitude" in shown["criteria"]
        assert "uniform_magnitude" in shown["criteria"]
        assert {"random", "predictor_evolution"} <= set(shown["strategies"])
        assert {"fashion_mnist_mini", "image_folder", "npz_jpeg", "timm"} <= set(shown["datasets"])
        assert "fbnetv3_mini" in shown["spaces"]
        assert {"fbnetv3_mini s", "fbnetv3_mini m", "fbnetv3_mini l"} <= set(shown["models"])

        assert {"prune", "search", "scratch"} <= set(shown["routes"])

    def test_help_names_every_kind(self, command):
        out = " ".join(said(command("list", "--help")).replace("│", " ").split())
        assert ", ".join([*list_all(), "config"]) in out

    @pytest.mark.parametrize("kind", list_all())
    def test_one_kind(self, kind, command):
        assert json.loads(said(command("list", kind, "--json"))) == {kind: list_all()[kind]}


class TestPlan:
    @pytest.fixture(autouse=True)
    def _fixed_speed(self, monkeypatch):
        monkeypatch.setattr("harness.plan.measure_speeds", lambda *_: Speeds(2e9))

    @pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
    def test_every_study_of_the_repository(self, path, command, monkeypatch):
        def absent(self):
            raise InputError("the data is elsewhere")

        monkeypatch.setattr("harness.data.timm.Dataset.check", absent)
        plans = json.loads(said(command("plan", path, "--json", "--set", "replicates=1")))
        for plan in plans if isinstance(plans, list) else [plans]:
            assert plan["num_jobs"] == sum(phase["num_jobs"] for phase in plan["phases"])
            assert plan["hours"] == pytest.approx(sum(phase["hours"] for phase in plan["phases"]))
            assert plan["hours"] > 0
            assert plan["unit"] in ("gpu_hours", "cpu_core_hours")
            policies = {(row["route"], row["policy"]) for row in plan["per_target"]}
            routes = {phase["route"] for phase in plan["phases"]} & {"prune", "search"}
            assert {(route, p) for route in routes for p in ("full", "free", "amortised")} <= policies

    def test_charges_of_the_tiny_study_by_hand(self, tiny, write_config, command):
        """2 epochs of 3 × 200 training and 1,000 validation passes, 200 for batch norm: 3,400, plus an overhead."""
        plan = json.loads(said(command("plan", write_config(tiny), "--json")))
        from harness.config.study import parse_config
        from harness.validation import check_study
        from harness.work.price import OVERHEAD_S

        macs = check_study(parse_config(tiny, "x"), need_data=False).parent_macs
        (pretrain,) = [p for p in plan["phases"] if p["phase"] == "pretrain"]
        assert pretrain["hours"] * 3600 == pytest.approx(OVERHEAD_S["cpu"] + 3400 * macs / 2e9)
        hours = {(row["route"], row["target"], row["policy"]): row["hours"] for row in plan["per_target"]}
        prune = [hours["prune", 600_000, policy] for policy in ("full", "amortised", "free")]
        assert prune[0] - prune[2] == pytest.approx(pretrain["hours"])
        assert prune[1] - prune[2] == pytest.approx(pretrain["hours"] / 2)

    def test_as_text(self, tiny, write_config, command):
        out = said(command("plan", write_config(tiny)))
        assert "24 jobs" in out
        assert "CPU core-hours" in out
        assert "GPU-hours" not in out

    def test_a_cap_is_seen(self, tiny, write_config, command):
        tiny["budget"] = {"search": "1 s"}
        plan = json.loads(said(command("plan", write_config(tiny), "--json")))
        assert plan["budget_caps_it"]
        assert plan["num_jobs"] < 24

    def test_missing_data_is_said_and_does_not_stop_a_plan(self, tiny, tmp_path, write_config, command):
        tiny["dataset"] = {"name": "npz_jpeg", "path": str(tmp_path / "gone.npz"), "num_train": 100, "image_size": 28}
        tiny["targets"] = ["0.6M"]
        plan = json.loads(said(command("plan", write_config(tiny), "--json")))
        assert "gone.npz" in plan["missing"]

    def test_writes_nothing(self, tiny, tmp_path, write_config, command, snapshot):
        config = write_config(tiny)
        before = snapshot(tmp_path)
        said(command("plan", config))
        assert snapshot(tmp_path) == before


def test_measured_speed_is_that_of_a_machine(tiny):
    from harness.config.study import parse_config
    from harness.plan import measure_speeds
    from harness.validation import check_study

    speeds = measure_speeds(check_study(parse_config(tiny, "x"), need_data=False), "cpu", budget_s=0.2)
    assert 1e7 < speeds.parent < 1e13
    assert {(kind.route, kind.phase, kind.is_masked) for kind in speeds.shares} == {
        ("search", "search", False),
        ("search", "retrain", False),
        ("prune", "finetune", True),
        ("scratch", "retrain", False),
        ("scratch", "retrain", True),
    }
    assert all(0.02 < share < 50 for share in speeds.shares.values())


class TestOnAStudy:
    def test_status(self, study, command):
        out = said(command("status", study))
        assert "tiny: " in out
        assert "24 done" in out

    def test_status_as_json(self, study, command):
        state = json.loads(said(command("status", study, "--json")))
        assert state["totals"]["done"] == 24
        assert {row["target"] for row in state["best"]} == set(TARGETS)

    def test_report_is_a_pure_function_of_the_folder(self, study, command, snapshot):
        before = snapshot(study / "ledger") | snapshot(study / "models")
        shutil.rmtree(study / "report")
        out = said(command("report", study))
        assert "index.html" in out
        assert (study / "report" / "index.html").exists()
        assert (study / "report" / "answer.json").exists()
        assert snapshot(study / "ledger") | snapshot(study / "models") == before

    @pytest.mark.parametrize(("macs", "status"), [("0.6M", "measured"), ("400k", "measured"), ("0.5M", "interpolated")])
    def test_answer(self, macs, status, study, command):
        found = json.loads(said(command("answer", study, "--macs", macs, "--json")))
        assert found["status"] == status
        assert found["sentence"]
        text = said(command("answer", study, "--macs", macs))
        assert text == found["sentence"] + "\n"

    def test_answers_of_the_whole_study_are_those_of_its_report(self, study, command):
        told = json.loads((study / "report" / "answer.json").read_text())
        assert json.loads(said(command("answer", study, "--json"))) == told
        assert said(command("answer", study)).splitlines() == [told["sentence"], *told["lines"]]
        assert len(told["lines"]) >= len(TARGETS)

    def test_answer_for_a_share_of_the_parent(self, study, command):
        parent = build_network(network_spec("fbnetv3_mini", "l", 1, 10))
        found = json.loads(said(command("answer", study, "--macs", "60%", "--json")))
        assert found["status"] == "interpolated"
        assert found["target_macs"] == count_macs(parent, (1, 28, 28)).macs * 60 // 100

    def test_a_refused_answer_is_json_with_the_change_that_would_measure_it(self, study, command):
        code, out, err = command("answer", study, "--macs", "0.2M", "--json")
        assert (code, err) == (2, "")
        found = json.loads(out)
        assert found["status"] == "refused"
        assert "0.2M" in found["config_change"]

    def test_audit(self, study, command):
        assert "the ledger adds up" in said(command("audit", study))
        found = json.loads(said(command("audit", study, "--json")))
        assert found["ok"] is True
        assert found["warnings"] == []

    def test_audit_of_a_ledger_that_lies(self, study, command):
        segment = next(p for p in (study / "ledger").glob("*-worker-*") if "finetune#" in p.read_text())
        doubled = segment.with_name(segment.name.replace("worker", "worker2"))
        doubled.write_text(segment.read_text())
        code, out, err = command("audit", study)
        assert (code, err) == (1, "")
        assert "does not add up" in out


class TestExitCodes:
    @pytest.mark.parametrize(
        ("raised", "code", "says"),
        [(StudyFailed("2 jobs failed"), 1, "2 jobs failed"), (KeyboardInterrupt(), 1, "run the same command again")],
    )
    def test_a_study_that_does_not_finish(self, raised, code, says, tiny, write_config, command, monkeypatch):
        def fail(*args):
            raise raised

        monkeypatch.setattr("harness.study.run_study", fail)
        got, out, err = command("run", write_config(tiny), "--backend", "inline")
        assert (got, out) == (code, "")
        assert err.startswith("error: ")
        assert says in err
        assert err.count("\n") == 1

    def test_help_names_every_command(self, command):
        out = said(command("--help"))
        for name in ("plan", "run", "status", "report", "answer", "audit", "list"):
            assert name in out
