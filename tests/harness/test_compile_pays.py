"""What ``plan`` says of compiling: for which trainings it pays, what jobs cost with it, and where it cannot work."""

import copy
import json
import math

import pytest
import torch
import yaml

from harness.config.phases import compiled_phases
from harness.config.recipe import Recipe
from harness.config.study import load_configs, parse_config
from harness.console import plan_summary, show_plan
from harness.console.plan_summary import summarise
from harness.console.show_plan import format_plan
from harness.errors import InputError
from harness.jobs.work import Train, TrainSupernet, is_compiled
from harness.plan import expected_jobs, play, timed_of
from harness.planning import can_compile
from harness.planning.can_compile import check_compiles, compile_problem
from harness.planning.hardware import parse_fleets
from harness.planning.speeds import Compiling, Kind, Speeds, to_compile
from harness.training import compiled
from harness.validation import check_study


@pytest.fixture(scope="module")
def config(tiny_text):
    return yaml.safe_load(tiny_text)


def study(config, **pretrain):
    config = copy.deepcopy(config)
    config["parent"]["pretrain"] |= pretrain
    return parse_config(config, "test")


def view_of(config, **pretrain):
    return check_study(study(config, **pretrain), need_data=False)


def parent_job(view):
    return next(each.job for each in expected_jobs(view, "cpu") if each.job.phase == "pretrain")


class TestWhatItGains:
    def test_by_hand(self):
        """Of 1000 images, 100 a second take 10 s and 200 take 5 s: 20 s to compile are saved after 4 epochs."""
        found = Compiling(100, 200, 20)
        assert found.gain == 2
        assert found.epochs_to_pay(1000) == pytest.approx(4)
        assert found.epochs_to_pay(1000, workers=2) == pytest.approx(8)

    @pytest.mark.parametrize("with_it", [100, 50])
    def test_what_is_not_faster_never_pays(self, with_it):
        assert Compiling(100, with_it, 20).epochs_to_pay(1000) == math.inf

    def test_a_job_that_is_compiled_costs_its_compilation_and_trains_faster(self, config):
        plain, on = view_of(config), view_of(config, compile=True)
        kind = Kind.of(parent_job(plain))
        speeds = Speeds(1e9, compiling={kind: Compiling(100, 200, 30)})
        costs = [
            next(each.seconds for each in play(view, speeds, "cpu").jobs if each.job.phase == "pretrain")
            for view in (plain, on)
        ]
        job = parent_job(plain)
        trained_s = 2 * 3 * plain.info.num_train * job.computed_macs / 1e9  # two epochs
        assert costs[1] - costs[0] == pytest.approx(30 - trained_s / 2)  # evaluation is not compiled, and as long
        others = [
            {each.job.name: each.seconds for each in play(view, speeds, "cpu").jobs if each.job.phase != "pretrain"}
            for view in (plain, on)
        ]
        assert others[0] == others[1]

    def test_it_is_measured_for_what_is_compiled_or_for_all_if_asked(self, config):
        view = view_of(config)
        jobs = timed_of(view).jobs
        assert to_compile(jobs) == {}
        kinds = to_compile(jobs, every=True)
        assert {(kind.phase, kind.is_masked) for kind in kinds} >= {
            ("pretrain", False), ("search", False), ("retrain", False), ("finetune", True)
        }  # fmt: skip
        assert [kind.phase for kind in to_compile(timed_of(view_of(config, compile=True)).jobs)] == ["pretrain"]

    def test_it_is_measured_beside_the_eager_training(self, config, monkeypatch):
        monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
        timed = timed_of(view_of(config, compile=True))
        (found,) = timed.measured(torch.device("cpu"), 0.02).compiling.values()
        assert found.problem is None
        assert found.compile_s > 0
        assert 0.01 < found.gain < 100

    def test_a_network_that_cannot_be_compiled_is_said_to_be_so(self, config, monkeypatch):
        def fails(graph, inputs):
            raise ValueError("no such kernel")

        monkeypatch.setattr(compiled, "BACKEND", fails)
        timed = timed_of(view_of(config, compile=True))
        (found,) = timed.measured(torch.device("cpu"), 0.02).compiling.values()
        assert (found.gain, found.compile_s) == (1, 0)
        assert "no such kernel" in found.problem


class TestWhatPlanSays:
    @pytest.fixture(autouse=True)
    def _known(self, monkeypatch):
        monkeypatch.setattr(plan_summary, "check_compiles", lambda config, device: None)

    def lines(self, config, monkeypatch, found, **pretrain):
        kind = Kind.of(parent_job(view_of(config)))
        monkeypatch.setattr("harness.plan.measure_speeds", lambda *_: Speeds(1e9, compiling={kind: found}))
        summary = summarise(study(config, **pretrain), compiles=True)
        json.dumps(summary)
        return [line for line in format_plan(summary).splitlines() if line.startswith("compile:")], summary

    def test_whether_it_pays(self, config, monkeypatch):
        lines, summary = self.lines(config, monkeypatch, Compiling(100, 200, 100), compile=True)
        images = view_of(config).info.num_train  # 0.005 s are saved on each
        least = math.ceil(100 / (images * 0.005))
        phase = parent_job(view_of(config))
        assert lines == [
            f"compile: {phase.route} pretrain (now on): 100 images/s without, 200 with, 100 s to compile; pays from "
            f"{least:,} epochs on, it trains 2: it does not pay"
        ]
        assert summary["compiled"] == ["parent.pretrain"]

    def test_that_it_pays(self, config, monkeypatch):
        lines, _ = self.lines(config, monkeypatch, Compiling(1, 2, 10))
        assert lines[0].endswith("10 s to compile; pays from 1 epochs on, it trains 2: it pays")
        assert "(now off)" in lines[0]

    def test_that_it_is_not_faster(self, config, monkeypatch):
        lines, _ = self.lines(config, monkeypatch, Compiling(100, 90, 10))
        assert lines[0].endswith("10 s to compile; it is not faster, and does not pay")

    def test_that_it_fails(self, config, monkeypatch):
        lines, _ = self.lines(config, monkeypatch, Compiling(100, 100, 0, "torch.compile fails (x)"))
        assert lines[0].endswith("it cannot be compiled: torch.compile fails (x)")

    def test_nothing_where_nothing_was_measured(self, config, monkeypatch):
        monkeypatch.setattr("harness.plan.measure_speeds", lambda *_: Speeds(1e9))
        assert "compile" not in format_plan(summarise(study(config)))

    def test_elsewhere_it_is_not_known(self, config):
        text = format_plan(summarise(study(config, compile=True), fleets=parse_fleets("8x A100-80GB")))
        assert (
            "compile: on for parent.pretrain; what it takes and gains on 8x A100-80GB is not known, and not in this plan"
        ) in text.splitlines()

    def test_it_is_not_measured_for_devices_elsewhere(self, config):
        with pytest.raises(InputError, match="--compile measures on this machine; leave --on out"):
            show_plan.show_plan(
                [study(config)], None, on="8x A100-80GB", prices=None, compiles=True, rehearse=False, as_json=False
            )


class TestWhereItCannotWork:
    def test_it_is_tried_only_if_a_study_compiles(self, config, monkeypatch):
        monkeypatch.setattr(can_compile, "compile_problem", lambda device: "torch.compile fails (no compiler)")
        check_compiles(study(config), "cpu")
        said = r"^parent\.pretrain\.compile: true given, and on this machine torch.compile fails \(no compiler\)$"
        with pytest.raises(InputError, match=said):
            check_compiles(study(config, compile=True), "cpu")

    @pytest.mark.parametrize("words", [["plan"], ["run", "--backend", "inline"]])
    def test_commands_end_before_anything_is_paid_for(self, words, config, tmp_path, monkeypatch, command):
        monkeypatch.setattr(can_compile, "compile_problem", lambda device: "torch.compile fails (no compiler)")
        given = copy.deepcopy(config)
        given["parent"]["pretrain"]["compile"] = True
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(given))
        code, _, err = command(*words, path, "--out", tmp_path / "out")
        assert code == 2
        assert "parent.pretrain.compile: true given, and on this machine torch.compile fails (no compiler)" in err
        assert len(err.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()

    @pytest.mark.slow
    @pytest.mark.timeout(400)
    def test_without_a_compiler(self, monkeypatch):
        monkeypatch.setenv("CXX", "/nonexistent/g++")
        problem = compile_problem("cpu")
        assert problem is not None
        assert problem.startswith("torch.compile fails (")
        assert problem.endswith("; set compile to false")
        assert "\n" not in problem

    def test_a_supernet_is_refused_by_name(self, config, tmp_path):
        given, path = copy.deepcopy(config), tmp_path / "study.yaml"
        given["routes"], given["recipe"]["compile"] = {"supernet": {}}, True
        path.write_text(yaml.safe_dump(given))
        with pytest.raises(InputError) as error:
            load_configs(path)
        assert str(error.value).endswith(
            "routes.supernet.supernet: compile is true, and a supernet runs another network in every pass, each of which "
            "would be compiled anew; set routes.supernet.supernet.compile to false"
        )
        given["routes"] = {"supernet": {"supernet": {"compile": False}}}
        path.write_text(yaml.safe_dump(given))
        (study,) = load_configs(path)
        assert compiled_phases(study) == ["parent.pretrain", "routes.supernet.retrain"]
        with pytest.raises(ValueError, match="a supernet's training cannot be compiled"):
            TrainSupernet(Recipe(compile=True))


def test_what_is_compiled():
    assert is_compiled(Train(Recipe(compile=True)))
    assert not is_compiled(Train(Recipe()))
    assert not is_compiled(Train(Recipe(compile=True, epochs=0)))


def test_the_switch_is_on_record_only_where_it_is_on():
    """So jobs of studies that do not compile are the same as before there was a switch."""
    assert "compile" not in Recipe().as_spec()
    assert Recipe(compile=True).as_spec()["compile"] is True
