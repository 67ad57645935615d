"""A target passes through at most 15 functions in at most 6 modules, from the command line to the sentence."""

from __future__ import annotations

import pytest

from benchmarks.follow_target import follow, golden, modules


@pytest.mark.parametrize(
    ("macs", "said"),
    [("0.6M", "0.6M"), ("0.5M", "0.5M"), ("9M", "9M"), ("55%", "0.519763M")],
    ids=["measured", "between two", "out of reach", "percent between two"],
)
def test_the_target_passes_few_functions_on_its_way_to_the_sentence(macs, said, tmp_path, capsys):
    way = follow(golden(tmp_path), macs)
    assert f"At {said} MACs" in capsys.readouterr().out
    assert way.stays[0] == "harness/cli:answer"
    assert "reports/answers/text:sentence" in way.stays
    assert len(way.stays) <= 15, way.stays
    assert len(modules(way.stays)) <= 6, modules(way.stays)
