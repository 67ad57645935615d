"""A sentence says `but` of a charge policy with another verdict, and `likewise` of one with the same verdict."""

from types import SimpleNamespace

import pytest

from reports.answers import text
from reports.compare.rule import Verdict
from reports.page.compared import _start


@pytest.fixture
def clause(monkeypatch):
    """A function of the verdicts by policy → the clause; each policy's ratio is apart from the headline's."""
    monkeypatch.setattr(text, "flips", lambda costs, headline: [policy for policy in costs if policy != headline])
    monkeypatch.setattr(text, "verdict_text", lambda costs, challenger: f"{costs.verdict.value} is cheaper")

    def said(**verdicts):
        costs = {
            policy: SimpleNamespace(verdict=verdict, guarded=None, cost_ratio=SimpleNamespace(value=3.0))
            for policy, verdict in verdicts.items()
        }
        return text._flips_clause(costs, "search")

    return said


def test_another_verdict_is_an_exception_and_the_same_is_not(clause):
    free = "with the parent free"
    assert clause(full=Verdict.BASE) == ""
    assert clause(full=Verdict.BASE, free=Verdict.BASE) == f"; likewise {free} (search / prune = 3.00)"
    assert (
        clause(full=Verdict.CHALLENGER, free=Verdict.BASE) == f"; but {free}, base is cheaper (search / prune = 3.00)"
    )
    both = clause(full=Verdict.BASE, free=Verdict.BASE, amortised=Verdict.CHALLENGER)
    assert both.index("likewise") < both.index("; but ")


@pytest.mark.parametrize("given", [{"checkpoint": "net.pt"}, {"pretrained": True}])
def test_the_page_says_that_nobody_pays_for_a_given_parent(given):
    assert _start(given).endswith(", whose own training is charged to nobody")
    assert "charged" not in _start(given | {"declared_cost": "2 GPU-hours"})
    assert _start({"pretrained": False, "checkpoint": None}) == ""
