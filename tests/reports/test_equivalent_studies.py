"""A study on two GPU models with a declared equivalence: hours in those of the reference, and a verdict that holds at both
ends of the declared range, or none."""

import json

import pytest
from fake_study import build_study

from accounting.ledger.store import LedgerWriter
from reports.answers.whole import WholeAnswer
from reports.compare.guards import Obstacle
from reports.cost_report.as_json import as_json
from reports.cost_report.build import cost_report
from reports.cost_report.text import as_text
from reports.data.frames import load_frames
from reports.page.build import build_report

A100, H100 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"
SAYS = f"ours on {H100} count as"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Makes the fake study on A100s, with its search on an H100 whose hours count as declared."""
    append = LedgerWriter.append

    def make(hours, low, high):
        def with_two(self, kind, /, t=None, **fields):
            if kind == "session_opened":
                (entry,) = fields["capacity"]
                fields["capacity"] = [{**entry, "name": A100}, {**entry, "device": "GPU-2", "name": H100}]
                said = {"hours": hours, "low": low, "high": high, "source": "our benchmark"}
                fields["equivalent"] = {"reference": A100, "models": {H100: said}}
            if kind == "attempt_started" and fields["route"] == "search":
                fields["devices"] = {"GPU-2": 1.0}
            append(self, kind, t=t, **fields)

        with monkeypatch.context() as patched:
            patched.setattr(LedgerWriter, "append", with_two)
            return build_study(tmp_path / f"{hours}-{low}-{high}", cuda=True)

    return make


def ratios(frames):
    return [given.headline.headline.cost_ratio.value for given in WholeAnswer(frames).answers]


def test_a_rate_of_one_says_what_one_model_says(study, make_study):
    found, plain = (WholeAnswer(load_frames(folder)) for folder in (study(1.0, 1.0, 1.0), make_study(cuda=True)))
    assert found.headline == plain.headline
    assert found.as_json()["verdict"] == plain.as_json()["verdict"]


def test_costs_are_in_hours_of_the_reference(study):
    once, twice = (load_frames(study(rate, rate, rate)) for rate in (1.0, 2.0))
    assert ratios(twice) == pytest.approx([2 * ratio for ratio in ratios(once)])
    costs = [{n.job: n.cost_h["full"] for n in frames.delivered if n.route == "search"} for frames in (once, twice)]
    assert costs[1] == pytest.approx({job: 2 * hours for job, hours in costs[0].items()})
    of_prune = [[n.cost_h["full"] for n in frames.delivered if n.route == "prune"] for frames in (once, twice)]
    assert of_prune[0] == of_prune[1]
    assert twice.audit.hours == once.audit.hours


def test_every_reader_is_told(study):
    folder = study(2.0, 1.9, 2.1)
    whole = WholeAnswer(load_frames(folder))
    said = f"H{SAYS} 2 (1.9 to 2.1) hours on {A100}: our benchmark."
    assert whole.sentences.count(said) == 1
    assert said in whole.as_json()["lines"]
    assert all(said[1:-1] in " ".join(each["notes"]) for each in whole.as_json()["answers"])
    report = cost_report(folder)
    assert report.adds_up
    assert SAYS in " ".join(as_text(report, ["total"]).split())
    assert any(SAYS in warning for warning in as_json(report)["warnings"])
    assert SAYS in build_report(folder).read_text(encoding="utf-8")
    assert SAYS in (folder / "report" / "answer.json").read_text()


def test_a_verdict_that_the_rate_decides_is_none(study):
    rate = 1 / ratios(load_frames(study(1.0, 1.0, 1.0)))[0]
    frames = load_frames(study(rate, rate / 50, rate * 50))
    whole = WholeAnswer(frames)
    found = whole.as_json()
    assert found["verdict"] == "not_comparable"
    costs = whole.answers[0].headline.headline
    assert costs.guarded.obstacle is Obstacle.RATE
    assert (costs.guarded.found, costs.guarded.limit) == (pytest.approx(1 / 50), pytest.approx(50))
    assert "depends on what hours on the other GPU models count as" in whole.headline
    assert "cost ratio goes from 0.0200× to 50.0×" in whole.lines[0].sentence
    assert "declared rate" in whole.short
    assert len(whole.short.split()) <= 25
    assert found["answers"][0]["cheapest"] is None
    build_report(frames.folder)
    assert json.loads((frames.folder / "report" / "answer.json").read_text())["verdict"] == "not_comparable"


def test_a_verdict_that_holds_in_the_whole_range_stands(study):
    at_one = WholeAnswer(load_frames(study(1.0, 1.0, 1.0))).as_json()
    in_range = WholeAnswer(load_frames(study(1.0, 0.99, 1.01))).as_json()
    assert in_range["verdict"] == at_one["verdict"]
    assert in_range["verdict"] != "not_comparable"
