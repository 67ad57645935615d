"""How far a target travels, from the command line to the sentence: through at most 15 functions in at most 6 modules."""

from __future__ import annotations

import pytest

from benchmarks.follow_target import follow, golden, modules


@pytest.mark.parametrize("macs", ["0.6M", "0.5M", "9M"], ids=["measured", "between two", "out of reach"])
def test_the_target_passes_few_functions_on_its_way_to_the_sentence(macs, tmp_path, capsys):
    way = follow(golden(tmp_path), macs)
    assert f"At {macs} MACs" in capsys.readouterr().out
    assert way.stays[0] == "harness/cli:answer"
    assert "reports/answers/text:sentence" in way.stays
    assert len(way.stays) <= 15, way.stays
    assert len(modules(way.stays)) <= 6, modules(way.stays)
