"""Accuracies that say little are named: at chance, at the ceiling; shares stay shares; intervals that say nothing say so."""

from __future__ import annotations

import pytest
import yaml
from fake_study import build_study

from reports.data.frames import load_frames
from reports.data.levels import Level, level_of, networks_at_levels
from reports.page.build import build_report
from reports.sentences.levels import with_level
from reports.statistics import Estimate, mean_interval
from reports.words.wording import number_estimate, percent, percent_interval, points_estimate

TARGET = 500_000


def between(low, value, high):
    return Estimate(value, low, high, 0.1, 3)


@pytest.mark.parametrize(
    ("value", "classes", "level"),
    [
        (0.10, 10, Level.CHANCE), (0.12, 10, Level.CHANCE), (0.1201, 10, None), (0.03, 10, Level.CHANCE),
        (0.0, 10, Level.CHANCE), (0.5, 2, Level.CHANCE), (0.53, 2, None), (0.02, 1000, Level.CHANCE),
        (0.03, 1000, None), (0.10, None, None), (None, 10, None), (1.0, 10, Level.CEILING), (1.0, None, Level.CEILING),
        (0.9995, 10, Level.CEILING), (0.9994, 10, None), (between(0.4, 0.6, 0.8), 2, Level.CHANCE),
        (between(0.55, 0.6, 0.65), 2, None),
        (Estimate(0.738, 0.13, 1.0, 0.07, 2), 4, None), (Estimate(0.26, 0.0, 1.0, 0.1, 2), 4, Level.CHANCE),
        (between(0.0, 0.3, 0.6), 10, Level.CHANCE),
    ],
)  # fmt: skip
def test_the_level_of_an_accuracy(value, classes, level):
    assert level_of(value, classes) == level


def test_the_level_is_said_behind_the_number():
    assert with_level("10.2 %", 0.102, 10) == "10.2 %, chance"
    assert with_level("100.0 %", 1.0, 10) == "100.0 %, ceiling"
    assert with_level("60.0 %", 0.6, 10) == "60.0 %"


def test_networks_at_a_level_are_values(tmp_path, monkeypatch):
    monkeypatch.setattr("fake_study.TEST", {"prune": (0.10, 0.11, 0.09), "search": (1.0, 1.0, 1.0)})
    found = networks_at_levels(load_frames(build_study(tmp_path, targets=(TARGET,))).delivered, 10)
    assert [(one.level, one.label, one.target) for one in found] == [
        (Level.CEILING, "search", TARGET),
        (Level.CHANCE, "prune", TARGET),
    ]
    assert found[1].test_top1.value == pytest.approx(0.10)


@pytest.mark.parametrize("values", [[0.99, 1.0, 0.9], [0.0, 0.02, 0.1], [0.0, 1.0], [1.0, 1.0]])
def test_the_interval_of_a_share_is_cut_at_what_a_share_can_be(values):
    estimate = mean_interval(values, at_least=0.0, at_most=1.0)
    assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0
    shown = percent_interval(mean_interval(values))
    low, _, high = shown[shown.index("(") + 1 :].partition(" to ")
    assert float(low) >= 0.0
    assert float(high.replace(":", ",").partition(",")[0]) <= 100.0


@pytest.mark.parametrize("value", [1.2, -0.1, 81.2])
def test_what_is_no_share_is_never_a_percentage(value):
    assert percent(value).startswith("no share")


def test_intervals_that_say_nothing_say_so():
    assert "too wide to say anything" in percent_interval(between(0.02, 0.5, 0.98))
    assert "too wide to say anything" in points_estimate(between(-0.6, 0.1, 0.7))
    assert "too wide to say anything" in number_estimate(between(0.01, 2.0, 400.0))
    assert "too wide" not in percent_interval(between(0.4, 0.5, 0.6))
    assert "too wide" not in points_estimate(between(-0.1, 0.1, 0.3))
    assert "too wide" not in number_estimate(between(1.5, 2.4, 3.9))


def page_of(folder, test_top1, classes=10, **options):
    """The page of a study whose networks by pruning have these test accuracies, a replicate each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fake_study.TEST", {"prune": test_top1, "search": (0.83, 0.83, 0.83)})
        build_study(folder, targets=(TARGET,), **options)
        document = yaml.safe_load((folder / "study.yaml").read_text())
        document["data"] = {"num_classes": classes}
        (folder / "study.yaml").write_text(yaml.safe_dump(document))
        return build_report(folder).read_text().replace("\u00a0", " ").replace("\n", " ")


def test_the_page_names_chance_and_what_it_means(tmp_path, sketched):
    text = page_of(tmp_path, (0.10, 0.11, 0.09))
    assert "At chance level (10.0 % with 10 classes" in text
    assert "test top-1 of prune at 0.5M MACs (10.0 %)" in text
    assert "costs and differences say nothing" in text
    assert text.count(", chance</span>") == 4  # the mean and three networks
    assert text.count(", chance</small>") == 1  # the mean with its interval, beside the verdict


def test_the_page_names_the_ceiling(tmp_path, sketched):
    text = page_of(tmp_path, (1.0, 1.0, 1.0))
    assert "At the ceiling (100 %)" in text
    assert ", ceiling</span>" in text
    assert "At chance level" not in text


def test_a_page_of_good_networks_names_neither(tmp_path, sketched):
    text = page_of(tmp_path, (0.84, 0.85, 0.86))
    assert "At chance level" not in text
    assert "ceiling" not in text


def test_the_page_says_which_intervals_say_nothing(tmp_path, sketched):
    text = page_of(tmp_path, (0.2, 0.95, 0.5), replicates=2)
    assert "too wide to say anything" in text
