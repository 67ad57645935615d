"""A strategy is asked what it can do, never judged by its name; an author who forgets a part is told which one."""

import pytest

from accounting.study import plugins
from nas_baseline.spaces import load_space
from nas_baseline.strategies import SearchStrategy, make_strategy, predicts, shares_weights

POWERS = {
    "random": (False, False), "regularized_evolution": (False, False), "predictor_evolution": (True, False),
    "supernet": (True, True),
}  # fmt: skip
OUTSIDE = """
from dataclasses import dataclass

from nas_baseline.strategies import SearchStrategy

@dataclass(frozen=True)
class Options:
    pass

class Strategy({bases}):
    {body}
    def __init__(self, space, seed, num_trials, max_macs, options):
        self.proposed = []
    def ask(self): return None
    def tell(self, trial, value): pass
    def best(self, max_macs=None): return None
    def finalists(self, max_macs, k_predicted, k_seen): return []
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A function that registers a plug-in file, as a study does, for this test only."""

    def name(bases, body=""):
        path = tmp_path / "mine.py"
        path.write_text(OUTSIDE.format(bases=bases, body=body))
        monkeypatch.setattr(plugins._registry, "files", (plugins.read_plugin(path),))

    return name


@pytest.mark.parametrize(("name", "powers"), POWERS.items())
def test_of_ours(name, powers):
    assert (predicts(name), shares_weights(name)) == powers


def test_a_strategy_of_ones_own_inherits_the_defaults(outside):
    outside("SearchStrategy")
    assert (predicts("mine"), shares_weights("mine")) == (False, False)
    made: SearchStrategy = make_strategy("mine", load_space("fbnetv3_mini"), seed=0, num_trials=2, max_macs=None)
    assert made.predict([]) is None
    assert made.extend(None, 1) is None


def test_a_strategy_of_ones_own_says_what_it_can_do(outside):
    outside("SearchStrategy", "predicts = True; shares_weights = True")
    assert (predicts("mine"), shares_weights("mine")) == (True, True)


def test_what_a_strategy_lacks_is_named(outside):
    outside("", "extend = None")
    with pytest.raises(
        ValueError, match="strategy 'mine': its class Strategy has no predict, predicts, shares_weights;"
    ):
        predicts("mine")
