"""Every branch of an answer names the control that makes both needless, the replicates that it has, and what is declared.

Both routes end at 0.85 and rise from 0.83, so that 0.84 takes 75 % of a training's hours (`test_golden_verdicts`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from test_golden_verdicts import TARGET, Written, two_routes

import reports
from reports.answers.as_json import to_json
from reports.answers.asked import asked_answers
from reports.answers.asked_text import reply_sentence
from reports.answers.between import left_out_error
from reports.answers.find import all_answers, answer_from_frames
from reports.answers.pays_text import break_even_sentences
from reports.answers.study import JudgedStudy
from reports.answers.values import Comparison, Measured, Question
from reports.answers.verdict_words import cheapest_text
from reports.answers.whole import WholeAnswer
from reports.answers.within_budget import budget_answers
from reports.compare.charges import BreakEven
from reports.compare.guards import Guarded, Obstacle
from reports.compare.rule import Verdict
from reports.compare.values import CheapestOfAll, CostComparison, PooledPays
from reports.compare.verdict import ASKED, Asked
from reports.data.frames import load_frames
from reports.export.tables import verdict_table
from reports.page.content import LEDGER_ALONE, page_content
from reports.statistics import NOTHING, Estimate

SCHEMA = json.loads((Path(reports.__file__).parent / "answer.schema.json").read_text())
NEITHER = "neither of the two: small network trained directly is as accurate and cheaper: pruning costs 5.00×"


def sibling_is_cheapest(targets=(TARGET,)):
    """Pruning takes 1 h, search 4 h, and the small network 0.2 h."""
    study = Written(targets=targets)
    for target in targets:
        for r in range(3):
            study.train("prune", "prune", r, 1.0, 0.83, 0.85, target=target)
            study.train("search", "search", r, 4.0, 0.83, 0.85, target=target)
            study.train("scratch_family", "scratch", r, 0.2, 0.83, 0.85, target=target)
    return study


def collapsed():
    """Pruning is at chance in three replicates."""
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.10, 0.10)
        study.train("search", "search", r, 4.0, 0.80, 0.83)
    return study


class TestNeither:
    def test_a_question_of_ones_own_names_the_control_with_its_figures(self, tmp_path):
        judged = JudgedStudy(sibling_is_cheapest().read(tmp_path))
        (given,) = asked_answers(judged, Asked(level=0.84), [TARGET])
        assert given.headline.verdict is Verdict.NEITHER
        said = reply_sentence(given)
        assert NEITHER in said
        assert " and search 20.0× (" in said

    def test_what_is_so_at_both_neighbours_is_so_between_them(self, tmp_path):
        jsonschema = pytest.importorskip("jsonschema")
        frames = sibling_is_cheapest((200, 800)).read(tmp_path)
        told = to_json(answer_from_frames(frames, 400))
        jsonschema.validate(json.loads(json.dumps(told, allow_nan=False)), SCHEMA)
        assert (told["status"], told["verdict"]) == ("interpolated", "neither")
        (control,) = told["policies"]["full"]["neither"]
        assert control["contender"] == "scratch_family"
        assert control["prune_ratio"]["value"] == pytest.approx(5.0)
        assert NEITHER in told["sentence"]
        assert "; where it was measured, cheapest of all: small network trained directly" in told["sentence"]
        assert "(interpolated, how far that is off is not known; nothing was trained at" in told["sentence"]
        (given,) = asked_answers(JudgedStudy(frames), Asked(level=0.84), [400])
        assert NEITHER in reply_sentence(given)

    def test_what_is_so_at_one_of_them_is_not(self, tmp_path):
        study = sibling_is_cheapest((200,))
        study.targets = (200, 800)
        for r in range(3):
            study.train("prune", "prune", r, 1.0, 0.83, 0.85, target=800)
            study.train("search", "search", r, 4.0, 0.83, 0.85, target=800)
            study.train("scratch_family", "scratch", r, 3.0, 0.83, 0.85, target=800)
        told = to_json(answer_from_frames(study.read(tmp_path), 400))
        assert told["verdict"] == "prune"
        said = "; where it was measured, cheapest of all: small network trained directly at 200, prune at 800;"
        assert said in told["sentence"]


class TestProvisional:
    def test_a_whole_study_whose_costs_are_not_comparable(self, tmp_path):
        whole = WholeAnswer(collapsed().read(tmp_path, replicates=5))
        assert "so accuracy is to be compared, not cost (provisional: 3 of 5 replicates)" in whole.headline
        told = whole.as_json()
        assert (told["verdict"], told["provisional"]) == ("not_comparable", True)
        assert (told["n"], told["replicates_planned"]) == (3, 5)

    def test_a_complete_one_is_not(self, tmp_path):
        whole = WholeAnswer(two_routes([4.0, 5.0, 6.25]).read(tmp_path))
        assert "provisional" not in whole.headline
        assert whole.as_json()["provisional"] is False

    def test_the_table_of_the_page(self, tmp_path):
        content = page_content(WholeAnswer(collapsed().read(tmp_path, replicates=5)), {})
        (verdict,) = (section for section in content.sections if section.title == "Verdict")
        (row,) = (row for row in verdict.tables[0].table.rows if row[1] == "search")
        assert row[-1].endswith("(provisional: 3 of 5 replicates)")

    def test_the_table_for_programs(self, tmp_path):
        table = verdict_table(all_answers(collapsed().read(tmp_path, replicates=5)))
        row = table[table["policy"] == "full"].iloc[0]
        assert row["reason"].startswith("not comparable: median final accuracies on validation differ by 73.0 points")
        assert bool(row["provisional"]) is True
        reached = [row[f"{name}_replicates_{what}"] for name in ("prune", "search") for what in ("reached", "entered")]
        assert reached == [3, 3, 3, 3]
        plain = verdict_table(all_answers(sibling_is_cheapest().read(tmp_path / "other")))
        row = plain[plain["policy"] == "full"].iloc[0]
        assert (row["reason"], row["verdict"], row["neither"]) == (None, "neither", "scratch_family")


def test_of_how_many_targets_it_speaks(tmp_path):
    study = two_routes([4.0, 5.0, 6.25])
    study.targets = (TARGET, 2 * TARGET)
    whole = WholeAnswer(study.read(tmp_path))
    assert whole.headline.startswith("On data, 1 of 2 targets, all work charged, search took 5.00×")


class TestCheapest:
    def test_pruning_that_did_not_get_there_has_no_ratio(self, frames):
        found = JudgedStudy(frames).asked(Asked(level=0.855)).cheapest[500_000][ASKED]
        assert (found.label, found.saving.value, found.saving.n) == ("search", None, 0)

    def test_pruning_that_is_the_cheapest_has_1(self, tmp_path):
        study = two_routes([4.0, 5.0, 6.25]).read(tmp_path)
        found = JudgedStudy(study).verdicts.cheapest[TARGET]["full"]
        assert (found.label, found.saving.value) == ("prune", 1.0)

    @pytest.mark.parametrize(
        ("found", "by_pair", "said"),
        [
            (CheapestOfAll("search", NOTHING, (), 0), False, "only search is shown to reach it"),
            (CheapestOfAll("search", NOTHING, ("prune",), 1), True, "no other contender is shown to reach it"),
            (
                CheapestOfAll("scratch_family", NOTHING, (), 1),
                False,
                "cheapest of all 2 that reach it: small network trained directly",
            ),
            (
                CheapestOfAll("scratch_family", NOTHING, ("search",), 1),
                False,
                "lowest cost seen of 2 that reach it: small network trained directly, not shown to be cheaper than search",
            ),
        ],
    )
    def test_who_reaches_it(self, found, by_pair, said):
        assert cheapest_text(found, 3, is_reached_by_pair=by_pair) == said


def ratio_at(target, value, guarded=None):
    ratio = Estimate(value, None, None, None, 3)
    costs = CostComparison(
        "search", target, "full", Verdict.BASE, ratio, None, {}, {}, {}, {}, NOTHING, guarded=guarded
    )
    question = Question(target, "study", "data", "gpu_hours", (target,), 3)
    return Measured(question, Comparison("search", 3, NOTHING, {"full": costs}), (), {})


def test_a_ratio_that_is_not_compared_does_not_test_the_line():
    ends = ratio_at(200, 2.0), ratio_at(800, 2.0)
    assert left_out_error([ends[0], ratio_at(400, 8.0), ends[1]]) == pytest.approx(4.0)
    guarded = Guarded(Obstacle.CHANCE, None, 0.1, 0.15)
    assert left_out_error([ends[0], ratio_at(400, 8.0, guarded), ends[1]]) is None


DECLARED = "The parent's cost is declared, not measured: 0.5 CPU core-hours (a paper)"


class TestDeclared:
    @pytest.fixture
    def folder(self, make_study):
        folder = make_study(replicates=2)
        path = folder / "study.yaml"
        document = yaml.safe_load(path.read_text())
        document["study"]["parent"] |= {"declared_cost": "0.5 CPU core-hours", "source": "a paper"}
        path.write_text(yaml.safe_dump(document))
        return folder

    @pytest.mark.parametrize(
        "words",
        [
            ["--macs", "0.5M"],
            ["--macs", "0.6M"],
            ["--top1", "0.84"],
            ["--budget", "0.5 core-hours"],
            ["--targets-served", "3"],
        ],
    )
    def test_every_answer_in_which_it_is_charged_says_so(self, words, folder, command):
        code, out, err = command("answer", folder, *words)
        assert (code, err) == (0, "")
        assert DECLARED in out
        notes = json.loads(command("answer", folder, *words, "--json")[1])["notes"]
        assert any(note.startswith(DECLARED) for note in notes)

    def test_another_price_takes_its_place(self, folder, command):
        assert DECLARED not in command("answer", folder, "--parent-price", "0")[1]

    def test_the_page_says_so_wherever_it_is_in_a_figure(self, folder):
        content = page_content(WholeAnswer(load_frames(folder)), {})
        by_title = {section.title: section for section in content.sections}
        rows = dict(by_title["What was compared"].tables[0].table.rows)
        assert rows["Cost"].endswith("; the parent at its declared cost, which was not measured: 0.5 CPU core-hours")
        assert "(the parent at its declared cost)" in by_title["Verdict"].tables[0].caption
        assert any(line.startswith(DECLARED) for line in by_title["Cost to reach each accuracy"].lines)
        for title in ("Where the cost went", "Accuracy per device-hour", "Delivered networks"):
            assert list(by_title[title].lines) == [LEDGER_ALONE]
        headers = by_title["What the ratio depends on"].tables[0].table.headers
        assert "parent, as declared" in headers


class TestNotDone:
    """After 2 h the parent is still being trained, and search has delivered one network at 0.5M MACs."""

    @pytest.fixture
    def judged(self, make_study):
        return JudgedStudy(load_frames(make_study(until_h=2)))

    def test_an_accuracy(self, judged):
        (given,) = asked_answers(judged, Asked(level=0.8), [500_000])
        said = reply_sentence(given)
        assert "; not done in any replicate yet: prune" in said
        assert "0 of 0" not in said

    def test_a_budget(self, judged):
        (given,) = budget_answers(judged, 0.5, [500_000])
        said = reply_sentence(given)
        assert said.endswith("; not done in any replicate yet: prune.")
        assert "no network by then: prune" not in said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (None, None, "not shown"),
        (2.0, None, "shown below 2.00 {}"),
        (None, 3.0, "shown above 3.00 {}"),
        (2.0, 3.0, "shown below 2.00 {} and above 3.00 {}"),
    ],
)
def test_a_break_even_that_is_never_reached_has_units(low, high, said):
    never = BreakEven(None, low, high, "search", "search", 0.05, 3)
    price, targets = break_even_sentences(PooledPays("search", 1, never, never), "gpu_hours", None, "On data")
    shown, count = (f"({said.replace('{}', unit)}, n = 3)" for unit in ("GPU-hours", "targets"))
    assert price == f"On data, search is cheaper than prune at any price of the parent {shown}."
    assert targets == f"On data, search is cheaper than prune however many targets share what is common {count}."


def test_the_cheapest_by_ratios_whose_mean_cost_is_not_the_lowest(tmp_path):
    """Search takes 0.25, 0.25 and 2.6 h, pruning 1 h each: the mean ratio is 0.55, the mean cost 1.03 to 1."""
    (given,) = asked_answers(JudgedStudy(two_routes([0.25, 0.25, 2.6]).read(tmp_path)), Asked(level=0.84), [TARGET])
    said = reply_sentence(given)
    assert "costs least by search: 0.775 CPU core-hours (" in said
    assert ", the least by mean ratios within replicates; then prune 0.750 (" in said
