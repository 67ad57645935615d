"""Where the audit of a ledger finds that its verdict does not stand or may shift, every answer says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_study import build_study

from accounting.ledger.index import NAME, segments_in
from harness.cli import app
from reports.answers.whole import WholeAnswer
from reports.data.frames import load_frames
from reports.page.build import build_report
from reports.side_by_side.build import side_by_side
from reports.side_by_side.text import as_text

NO, MAY = "the verdict of this study does not stand: ", "the verdict of this study may shift: "
ARGUMENTS = {
    "the study": [],
    "a target": ["--macs", "0.5M"],
    "an accuracy": ["--top1", "0.82"],
    "a budget": ["--budget", "2 CPU core-hours"],
    "other terms": ["--targets-served", "10"],
}


def changed(folder: Path) -> None:
    """Edit one line after it was written."""
    (path,) = segments_in(folder / "ledger")
    text = path.read_text()
    path.write_text(text.replace('"train_loss":1.0', '"train_loss":1.5', 1))


def without_index(folder: Path) -> None:
    (folder / "ledger" / NAME).unlink()


@pytest.fixture(params=[(changed, NO, "does not stand"), (without_index, MAY, "may shift")])
def damaged(request, tmp_path):
    """(the folder of a damaged study, what must be said of its verdict in words and in JSON)."""
    damage, words, stands = request.param
    folder = build_study(tmp_path / "study")
    damage(folder)
    return folder, words, stands


def answered(capsys, runner, folder, *options):
    capsys.readouterr()
    result = runner.invoke(app, ["answer", str(folder), *options])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def runner():
    from typer.testing import CliRunner

    return CliRunner()


@pytest.mark.parametrize("question", ARGUMENTS)
def test_every_answer_says_that_the_verdict_may_not_stand(damaged, question, runner, capsys):
    folder, words, stands = damaged
    assert words in answered(capsys, runner, folder, *ARGUMENTS[question])
    said = json.loads(answered(capsys, runner, folder, *ARGUMENTS[question], "--json"))
    assert said["verdict_stands"] == stands
    assert any(words in line for line in said["lines" if question == "the study" else "notes"])


def test_page_and_comparison_say_it_too(damaged, tmp_path):
    folder, words, stands = damaged
    whole = build_study(tmp_path / "whole")
    assert words in as_text(side_by_side([folder, whole]))
    page = build_report(folder)
    assert words in page.read_text(encoding="utf-8")
    assert json.loads(page.with_name("answer.json").read_text())["verdict_stands"] == stands


def test_an_undamaged_study_has_no_such_sentence(study):
    frames = load_frames(study)
    assert frames.audit.findings == ()
    assert not any("verdict of this study" in line for line in WholeAnswer(frames).sentences)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("replicates: 3", "replicates: 2", "replicate 2"),
        ("- 500000", "- 510000", "a target of 500000 MACs"),
        ("    scratch: {}\n", "", "route scratch"),
    ],
)
def test_a_ledger_that_is_not_the_study_s_is_found(old, new, what, tmp_path):
    folder = build_study(tmp_path)
    path = folder / "study.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    frames = load_frames(folder)
    (found,) = [finding for finding in frames.audit.findings if finding.code == "not_of_the_study"]
    assert f"is of {what}, which study.yaml does not have" in found.message
    assert frames.audit.stands == "does not stand"
