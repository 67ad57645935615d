from __future__ import annotations

import pytest

from accounting.cost.lineage import lineage, method_name, pruning_of
from accounting.words.methods import Method, parse_method
from accounting.words.names import FAMILY_CONTROL, RouteWords, is_method, label_rank, label_text, method_of


@pytest.mark.parametrize(
    ("name", "method", "text"),
    [
        ("global_lamp", Method("global", "lamp"), "global LAMP"),
        ("global_macs_magnitude", Method("global", "macs_magnitude"), "global magnitude per MAC"),
        ("global_magnitude+gradual", Method("global", "magnitude", "gradual"), "global magnitude, gradual"),
        ("uniform_taylor+iterative", Method("uniform", "taylor", "iterative"), "uniform Taylor, iterative"),
        ("channels_magnitude", Method("channels", "magnitude"), "channels by magnitude"),
        ("channels_global_magnitude", Method("channels_global", "magnitude"), "channels (global) by magnitude"),
        ("blocks_magnitude", Method("blocks", "magnitude"), "residual blocks by magnitude"),
        ("se_blocks_magnitude", Method("se_blocks", "magnitude"), "SE blocks by magnitude"),
        ("nm_magnitude", Method("nm", "magnitude"), "N:M magnitude"),
        ("nm", Method("nm", ""), "N:M"),
        ("rows_of_a_plug_in", Method("rows", "of_a_plug_in"), "rows by of a plug in"),
    ],
)
def test_methods_by_name(name, method, text):
    assert parse_method(name) == method
    assert method.text == text
    assert method_of(f"prune:{name}") == method
    assert label_text(f"prune:{name}") == f"prune: {text}"


def test_what_leaves_zeros_is_not_structured():
    names = ["global_lamp", "uniform_lamp", "nm_magnitude", "channels_lamp", "blocks_magnitude"]
    assert [parse_method(name).is_structured for name in names] == [False, False, False, True, True]


def test_routes_and_controls_are_no_methods():
    for label in ("prune", "search", "search_then_prune", "scratch_random_masks"):
        assert not is_method(label)
        assert method_of(label) is None
    labels = ["prune:global_lamp", "scratch_random_masks", "supernet", "prune", "search"]
    assert sorted(labels, key=label_rank) == labels[::-1]


SPECS = {
    "parent": {},
    "prune": {"init_from": "parent", "prune": {"method": "global_lamp+iterative", "scope": "global"}},
    "tune": {"init_from": "prune", "prune": None},
    "old": {"init_from": "parent", "prune": {"scope": "uniform", "criterion": "taylor"}},
    "loop": {"init_from": "pool"},
    "pool": {"init_from": "loop"},
}


def test_lineage_goes_back_to_the_beginning():
    assert lineage(SPECS, "tune") == ["tune", "prune", "parent"]
    assert lineage(SPECS, "unknown") == ["unknown"]
    assert lineage(SPECS, "") == []
    assert lineage(SPECS, "loop") == ["loop", "pool"]


def test_the_method_is_that_of_the_nearest_pruning():
    assert method_name(pruning_of(SPECS, "tune")) == "global_lamp+iterative"
    assert method_name(pruning_of(SPECS, "old")) == "uniform_taylor"
    assert method_name(pruning_of(SPECS, "parent")) == ""


def test_an_older_studys_controls_are_called_as_today():
    """An old study's stored control names give way to today's; a user's own route keeps its own text."""
    kept = {"role": "control", "labels": [{"label": FAMILY_CONTROL, "text": "scratch (family)", "marker": "^"}]}
    (kind,) = RouteWords.read("scratch", kept).labels
    assert kind.text == "small network trained directly"
    (own,) = RouteWords.read("mine", {"labels": [{"label": "mine_small", "text": "my small one"}]}).labels
    assert own.text == "my small one"
