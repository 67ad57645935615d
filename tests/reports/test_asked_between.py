"""What an accuracy costs between two targets: interpolated if costs are on a line, refused if not; worked out by hand.

Both routes end at 0.85 and rise from 0.83, so that 0.84 takes 75 % of a training's hours (`test_golden_verdicts`).
"""

import json

import pytest
from test_golden_verdicts import Written

from harness.cli import app
from reports.answers.asked import asked_answers
from reports.answers.refusal_text import config_change, reason_text
from reports.answers.study import JudgedStudy
from reports.compare.verdict import Asked

TARGETS = (200, 400, 800)


def study_of(search_hours, targets=TARGETS):
    study = Written(targets=targets)
    for target, hours in zip(targets, search_hours, strict=True):
        for r in range(3):
            study.train("prune", "prune", r, 1.0, 0.83, 0.85, target=target)
            study.train("search", "search", r, hours, 0.83, 0.85, target=target)
    return study


def test_on_a_line(tmp_path):
    # search takes 2, 4 and 8 h: a line in logarithms; 283 = 200 · √2 is halfway between 200 and 400
    judged = JudgedStudy(study_of((2.0, 4.0, 8.0)).read(tmp_path))
    (found,) = asked_answers(judged, Asked(level=0.84), [283])
    costs = {way.label: way.cost.value for way in found.ways}
    assert costs == pytest.approx({"prune": 0.75, "search": 0.75 * 2 * 2**0.5}, rel=2e-3)
    assert found.left_out_error == pytest.approx(1.0)
    assert found.headline.cost_ratio.value == pytest.approx(2 * 2**0.5, rel=2e-3)
    # the envelope of the neighbours' intervals, whose ratios are 2 (lower) and 4 (upper)
    assert found.headline.cost_ratio.low < 2 and found.headline.cost_ratio.high > 4


def test_off_the_line_it_is_refused_with_what_would_measure_it(tmp_path):
    # by its neighbours, 400 would take 2 h, but it takes 8: a factor of 4
    judged = JudgedStudy(study_of((2.0, 8.0, 2.0)).read(tmp_path))
    (found,) = asked_answers(judged, Asked(level=0.84), [283])
    assert "misses measured costs by up to 4.00× (at most 1.25× is allowed)" in reason_text(found)
    assert config_change(found).startswith("targets: [")


def test_where_a_neighbour_did_not_get_there_nothing_is_interpolated(tmp_path):
    study = study_of((2.0, 4.0), (200, 400))
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.70, 0.72, target=800)
        study.train("search", "search", r, 1.0, 0.70, 0.72, target=800)
    study.targets = (200, 400, 800)
    (found,) = asked_answers(JudgedStudy(study.read(tmp_path)), Asked(level=0.84), [600])
    assert "cannot be interpolated here" in reason_text(found)


def test_the_command_says_that_it_is_interpolated(tmp_path, capsys):
    study_of((2.0, 4.0, 8.0)).read(tmp_path)
    app(["answer", str(tmp_path), "--top1", "0.84", "--macs", "283", "--json"], standalone_mode=False)
    (reply,) = json.loads(capsys.readouterr().out)["replies"]
    assert (reply["status"], reply["left_out_error"]) == ("interpolated", pytest.approx(1.0))
