"""``answer`` with a user's own questions, on a study that was really run."""

import json
import shutil

import pytest


def one_line(err):
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--top1", "92"], "--top1 92: a validation accuracy above 0 and below 1 is expected, as 0.92 or 92%"),
        (["--top1", "none"], "--top1 none: a validation accuracy"),
        (["--budget", "10"], "'10' is not a cost in devices × time; write an amount with its unit, as 1200 GPU-hours"),
        (["--budget", "0"], "--budget 0: give an amount above 0"),
        (
            ["--budget", "1 GPU-hour"],
            "--budget 1 GPU-hour: this study's costs are in CPU core-hours, and no rate converts",
        ),
        (["--parent-price", "1200 GPU-hours"], "this study's costs are in CPU core-hours"),
        (["--parent-price", "-3 GPU-hours"], "is not a cost in devices × time"),
        (["--targets-served", "0"], "--targets-served 0: a whole number from 1 to 1,000,000 is expected"),
        (["--budget", "1 core-hour", "--top1", "0.5"], "--budget goes with --macs alone"),
        (["--targets-served", "1" + 400 * "0"], "a whole number from 1 to 1,000,000 is expected"),
        (["--parent-price", "1,5 core-hours"], "write an amount with its unit, with a point for decimals, as 1200"),
    ],
)
def test_what_cannot_be_asked(words, said, command, tiny_study):
    code, out, err = command("answer", tiny_study, *words)
    assert (code, out) == (2, "")
    assert said in one_line(err)


def test_other_terms(command, tiny_study):
    code, out, _ = command("answer", tiny_study, "--parent-price", "0", "--targets-served", "5", "--json")
    told = json.loads(out)
    assert code == (0 if any(reply["status"] == "measured" for reply in told["replies"]) else 2)
    assert [reply["target_macs"] for reply in told["replies"]] == [400_000, 600_000]
    for reply in told["replies"]:
        if reply["status"] == "measured":
            assert (reply["targets_served"], reply["parent_price_hours"]) == (5.0, 0.0)


def test_an_accuracy_that_nobody_reached_is_refused_with_what_would_measure_it(command, tiny_study, snapshot):
    before = snapshot(tiny_study)
    code, out, err = command("answer", tiny_study, "--top1", "0.999", "--macs", "0.6M")
    assert (code, out) == (2, "")
    said = one_line(err)
    assert "no contender reached 99.9 % on validation" in said
    assert "# longer training, in another study (--out)" in said
    assert "by `plan`, that takes" in said
    assert "CPU core-hours in another study (24 jobs" in said
    assert snapshot(tiny_study) == before


def test_a_target_that_was_not_measured_says_what_it_would_cost(command, tiny_study):
    code, _, err = command("answer", tiny_study, "--macs", "0.3M")
    assert code == 2
    assert "to measure it: targets: [0.3M, 0.4M, 0.6M]; by `plan`, that takes" in one_line(err)
    assert "CPU core-hours more (" in err


def test_programs_are_told_that_price_too(command, tiny_study):
    code, out, _ = command("answer", tiny_study, "--macs", "0.3M", "--json")
    told = json.loads(out)
    assert (code, told["status"], told["config_change"]) == (2, "refused", "targets: [0.3M, 0.4M, 0.6M]")
    assert told["plan"].startswith("by `plan`, that takes ")
    assert json.loads(command("answer", tiny_study, "--macs", "0.4M", "--json")[1])["plan"] is None


def test_a_target_that_no_network_can_have_says_why_it_has_no_price(command, tiny_study):
    code, _, err = command("answer", tiny_study, "--macs", "0.05M")
    assert code == 2
    said = "to measure it: targets: [50k, 0.4M, 0.6M]; `plan` refuses that change: targets: target of 50k MACs: "
    assert said in one_line(err)


def test_a_change_that_the_user_must_complete_is_not_planned(command, tiny_study):
    code, _, err = command("answer", tiny_study, "--macs", "5M")
    said = one_line(err)
    assert code == 2
    assert "a larger parent can, in another study (run with --out); to measure it: parent: {...}" in said
    assert said.endswith("; `prune-or-search plan` with that change says what it costs\n")


def test_targets_in_place_of_latencies_are_planned(command, tiny_study, tmp_path):
    folder = shutil.copytree(tiny_study, tmp_path / "by_latency")
    path = folder / "study.yaml"
    path.write_text(f"target: {{latency_ms: [3.0, 2.0]}}\n{path.read_text()}")
    code, _, err = command("answer", folder, "--macs", "0.3M")
    said = one_line(err)
    assert code == 2
    assert "the study's targets are latencies, which came to 0.4M, 0.6M MACs" in said
    assert "# instead of target, in another study (--out); by `plan`, that takes" in said
    assert "CPU core-hours in another study (" in said


def test_nothing_that_a_study_names_is_executed_to_say_what_a_change_costs(command, tiny_study, tmp_path):
    folder = tmp_path / "with_plugin"
    shutil.copytree(tiny_study, folder)
    bad = tmp_path / "bad.py"
    bad.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Criterion: ...\n")
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(f"plugins: [{bad}]\n{text}")
    code, _, err = command("answer", folder, "--macs", "0.3M")
    assert code == 2
    assert "`prune-or-search plan` with that change says what it costs" in err
    assert not (tmp_path / "executed").exists()


def test_a_plan_that_cannot_be_made_here_refuses_the_question_all_the_same(command, tiny_study, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no such device")

    monkeypatch.setattr("harness.console.plan_summary.summarise", fail)
    code, _, err = command("answer", tiny_study, "--macs", "0.3M")
    assert code == 2
    assert "targets: [0.3M, 0.4M, 0.6M]; `prune-or-search plan` with that change says what it costs" in err
    assert "cannot be planned here: RuntimeError: no such device" in err
