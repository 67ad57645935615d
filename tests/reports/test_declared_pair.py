"""In a study that declares another pair than prune and search, no sentence takes search for the challenger."""

from __future__ import annotations

from pathlib import Path

import yaml
from fake_study import build_study
from full_study import supernet_replicate

from reports.answers import find
from reports.answers.control_text import control_lines
from reports.answers.no_verdict import headline
from reports.answers.refusal_text import config_change, reason_text
from reports.answers.study import judged
from reports.answers.values import Refused
from reports.answers.whole import WholeAnswer
from reports.data.frames import Frames, load_frames
from reports.measure.kinds import alone, controls_beside
from reports.page.compared import compared_table


def declared(folder: Path, **changes: object) -> Frames:
    """The study in ``folder`` with ``verdict: {pair: [prune, supernet]}`` and other changes of its config."""
    path = folder / "study.yaml"
    document = yaml.safe_load(path.read_text())
    document["study"] |= {"verdict": {"pair": ["prune", "supernet"]}, **changes}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_frames(folder)


def supernet_alone(line, r, targets):
    """Train a supernet, but deliver no network from it."""
    line.attempt(f"supernet-r{r}-supernet", "supernet", "supernet", None, r, 0.5, macs=300_000, vals=(0.95, 0.97))


def refusal(frames: Frames) -> Refused:
    given = find.answer_from_frames(frames, 500_000)
    assert isinstance(given, Refused)
    return given


class TestRefused:
    def test_the_pairs_networks_are_counted(self, tmp_path):
        """A replicate of supernet takes 1.02 h, its small network is there after 0.81; the parent alone takes 3.42."""
        given = refusal(declared(build_study(tmp_path, until_h=1.5, more={"supernet": supernet_replicate})))
        assert reason_text(given).startswith(
            "the study is incomplete: at 0.5M MACs, networks delivered by prune 0 of 3 and supernet 1 of 3 replicates"
        )

    def test_networks_by_search_are_none_of_the_challengers(self, tmp_path):
        given = refusal(declared(build_study(tmp_path, more={"supernet": supernet_alone})))
        assert reason_text(given) == (
            "the study is incomplete: at 0.5M MACs, networks delivered by prune 3 of 3 and supernet 0 of 3 replicates; "
            "the study has ended, with 0 failed jobs"
        )

    def test_the_challengers_budget_is_named(self, tmp_path):
        budget = {"search": 0.1, "supernet": 0.4}
        given = refusal(declared(build_study(tmp_path, budget=budget, more={"supernet": supernet_alone})))
        assert reason_text(given).endswith("; the budget is spent of supernet (0.400 CPU core-hours)")
        assert config_change(given).startswith("budget: {supernet: 1.0 h}")


class TestSaid:
    def test_search_is_a_further_contender(self, tmp_path):
        frames = declared(build_study(tmp_path, more={"supernet": supernet_replicate}))
        lines = {line.verdict: line.sentence for line in WholeAnswer(frames).lines}
        assert "search" in lines and "supernet" not in lines["search"].partition(";")[0]

    def test_the_control_is_beside_the_pair(self, tmp_path):
        frames = declared(build_study(tmp_path, more={"supernet": supernet_replicate}))
        (small, _) = control_lines(controls_beside(frames), frames.unit)
        assert "; prune − control " in small.sentence and "; supernet − control " in small.sentence
        assert "search" not in small.sentence

    def test_without_the_challenger_the_page_begins_with_pruning(self, tmp_path):
        said = headline(alone(declared(build_study(tmp_path))))
        assert said.startswith("On fashion_mnist_mini, test top-1 by pruning ")
        assert said.endswith("since the study has no supernet route.")

    def test_how_the_challenger_was_searched(self, tmp_path):
        routes = {
            "search": {"strategy": {"name": "random", "num_trials": 9}},
            "prune": {},
            "scratch": {},
            "supernet": {"strategy": {"name": "supernet", "num_trials": 128}, "space": "fbnetv3_mini"},
        }
        frames = declared(build_study(tmp_path, more={"supernet": supernet_replicate}), routes=routes)
        table = compared_table(judged(frames), [])
        assert ["Searched by", "supernet, 128 candidates, in the space fbnetv3_mini"] in table.rows
