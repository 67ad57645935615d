"""A study on two GPU models with a declared equivalence: hours in those of the reference, and a verdict that holds at both
ends of the declared range, or none."""

import html
import json
from pathlib import Path

import jsonschema
import pytest
from fake_study import build_study

import reports
from accounting.ledger.store import LedgerWriter
from reports.answers.as_json import to_json
from reports.answers.asked import asked_answers, terms_of
from reports.answers.asked_text import reply_sentence
from reports.answers.find import answer_from_frames
from reports.answers.pays_text import at_target, break_even_sentences
from reports.answers.study import JudgedStudy
from reports.answers.whole import WholeAnswer
from reports.answers.within_budget import budget_answers
from reports.compare.at_ends import with_ends
from reports.compare.charges import BreakEven
from reports.compare.guards import Obstacle
from reports.compare.verdict import Asked
from reports.cost_report.as_json import as_json
from reports.cost_report.build import cost_report
from reports.cost_report.text import as_text
from reports.data.frames import load_frames
from reports.page.build import build_report
from reports.statistics import Ends, Estimate

A100, H100 = "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3"
SAYS = f"ours on {H100} count as"
SCHEMA = json.loads((Path(reports.__file__).parent / "answer.schema.json").read_text())
TARGET = 500_000


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
    assert report.hours_per_hour == report.num_devices * (1 + 2) / 2
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


def test_a_cost_goes_from_one_end_of_the_range_to_the_other(study):
    """Search was on the other model alone: its costs, and so all ratios, are in proportion to the rate."""
    found = answer_from_frames(load_frames(study(1.0, 0.5, 3.0)), TARGET)
    costs = found.headline.headline
    for estimate in (costs.cost_ratio, costs.to_quality["search"], costs.total["search"], costs.total_cost_ratio):
        ends = estimate.ends
        assert [ends.low, ends.high] == pytest.approx([estimate.value / 2, estimate.value * 3])
    assert costs.to_quality["prune"].ends is None
    ratio = costs.cost_ratio
    assert [ratio.ends.interval_low, ratio.ends.interval_high] == pytest.approx([ratio.low / 2, ratio.high * 3])
    parts = {part.label: part for part in found.pays.parts}
    assert parts["search"].own.ends.high == pytest.approx(3 * parts["search"].own.value)
    assert parts["prune"].total.ends is None


def test_a_break_even_goes_from_one_end_to_the_other(study):
    at = {rate: JudgedStudy(load_frames(study(rate, rate, rate))).who_pays(TARGET).against for rate in (0.9, 1.0, 1.1)}
    frames = load_frames(study(1.0, 0.9, 1.1))
    found = JudgedStudy(frames).who_pays(TARGET).against["search"].price
    low, stated, high = (against["search"].price for against in at.values())
    assert found.value == stated.value
    assert (found.ends.low, found.ends.high, found.ends.never) == (low.value, high.value, ())
    assert low.value < stated.value < high.value
    assert found.high is None or found.high >= stated.high
    said = break_even_sentences(JudgedStudy(frames).who_pays(TARGET).against["search"], "gpu_hours", None, at_target(1))
    assert "at the ends of the declared rates they cost the same at " in said[0]


def even(value, below="prune", above="search", low=None, high=None, shown=False):
    return BreakEven(value, low, high, below, above, 0.05, 3, shown)


@pytest.mark.parametrize(
    ("stated", "ends", "expected"),
    [
        (even(4.0, low=2.0, high=8.0), [even(3.0, low=1.5, high=6.0), even(5.0, low=2.5, high=None)],
         (1.5, None, False, (3.0, 5.0, ()))),
        (even(4.0, low=2.0, high=8.0), [even(None, "prune", "prune", shown=True)],
         (2.0, None, False, (4.0, 4.0, ("prune",)))),
        (even(None, "prune", "prune", shown=True), [even(None, "prune", "prune", shown=True)], (None, None, True, None)),
        (even(None, "prune", "prune", shown=True), [even(9.0, low=7.0)], (7.0, None, False, (9.0, 9.0, ()))),
        (even(4.0, low=2.0, high=8.0), [even(4.0, low=2.0, high=8.0)], (2.0, 8.0, False, None)),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_break_even_is_shown_at_all_ends(stated, ends, expected):
    found = with_ends(stated, ends)
    told = None if found.ends is None else (found.ends.low, found.ends.high, found.ends.never)
    assert (found.low, found.high, found.is_shown_everywhere, told) == expected


def test_parts_are_matched_by_their_labels():
    here = {"a": (Estimate(1.0, None, None, None, 1), "text"), "b": None}
    there = {"a": (Estimate(2.0, None, None, None, 1), "other"), "b": None}
    assert with_ends(here, [there])["a"] == (Estimate(1.0, None, None, None, 1, Ends(1.0, 2.0)), "text")
    assert with_ends(here, [{"a": there["a"]}]) == here
    assert with_ends(here, []) is here


def test_answers_to_own_questions_have_the_ends(study, capsys):
    from harness.console.show_answer import Wishes, show_answer

    folder = study(1.0, 0.9, 1.1)
    judged = JudgedStudy(load_frames(folder))
    (reply,) = asked_answers(judged, Asked(terms_of(5, 0.0), None), [TARGET])
    (search,) = (way for way in reply.ways if way.label == "search")
    assert [search.cost.ends.low, search.cost.ends.high] == pytest.approx([search.cost.value * f for f in (0.9, 1.1)])
    assert "at the ends of the declared rates" in reply_sentence(reply)
    (within,) = budget_answers(judged, 2.0, [TARGET])
    assert {way.label for way in within.ways} >= {"prune", "search"}
    show_answer(folder, Wishes(targets_served=5, parent_price="0"), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert f"H{SAYS} 1 (0.9 to 1.1) hours on {A100}: our benchmark." in told["notes"]
    assert any(note.startswith("Numbers are at the declared rates") for note in told["notes"])
    show_answer(folder, Wishes(targets_served=5, parent_price="0"), as_json=False)
    assert "Numbers are at the declared rates where no other range is given" in capsys.readouterr().out


def test_every_reader_is_told_how_far_the_ends_go(study):
    folder = study(2.0, 1.5, 2.5)
    frames = load_frames(folder)
    moved = frames.caveats.moved
    assert moved.low < moved.hours < moved.high
    said = f"the study's {moved.hours:.3g} GPU-hours are {moved.low:.3g} to {moved.high:.3g}"
    whole = WholeAnswer(frames)
    assert said in " ".join(whole.sentences)
    for given in whole.answers:
        told = to_json(given)
        jsonschema.validate(told, SCHEMA)
        assert said in " ".join(told["notes"])
        assert set(told["policies"]["full"]["cost_ratio"]["at_rate_ends"]) >= {"low", "high"}
        assert "at the ends of the declared rates, with intervals from" in told["sentence"]
    assert "at_rate_ends" in whole.as_json()["break_even"]["parent_price_hours"]
    assert said in " ".join(as_text(cost_report(folder), ["total"]).split())
    page = build_report(folder).read_text(encoding="utf-8")
    assert said in html.unescape(page)
    assert "declared rates: " in page


def test_a_rate_without_a_range_says_nothing_of_ends(study):
    frames = load_frames(study(2.0, 2.0, 2.0))
    assert frames.caveats.moved is None
    assert "at_rate_ends" not in json.dumps(WholeAnswer(frames).as_json())


def test_an_interpolated_answer_has_the_ends_of_its_neighbours(study):
    found = answer_from_frames(load_frames(study(1.0, 0.9, 1.1)), 600_000)
    ratio = found.headline.headline.cost_ratio
    assert [ratio.ends.low, ratio.ends.high] == pytest.approx([ratio.value * 0.9, ratio.value * 1.1])
