"""How many networks a strategy proposes at a time is what its options say, so that a plan can wait as a run does."""

import pytest

from nas_baseline.proposing.proposals import Proposal
from nas_baseline.spaces import load_space
from nas_baseline.strategies import batches, list_strategies, make_strategy


def proposed_at_once(name, num_trials, options):
    """The sizes of the batches that a strategy really proposes, if every trial succeeds."""
    strategy = make_strategy(
        name, load_space("fbnetv3_mini"), seed=3, num_trials=num_trials, max_macs=[400_000, 600_000], **options
    )
    sizes = []
    while True:
        trials = []
        while isinstance(proposal := strategy.ask(), Proposal):
            trials.append(proposal.trial)
        if not trials:
            return sizes
        sizes.append(len(trials))
        for trial in trials:
            strategy.tell(trial, 0.5 + trial / 1000)


@pytest.mark.parametrize("num_trials", [1, 2, 5, 12, 23])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in list_strategies()),
        ("predictor_evolution", {"first_batch": 6, "batch": 3}),
        ("regularized_evolution", {"population": 5, "tournament": 2, "batch": 7}),
        ("random", {"first_batch": 3}),
        ("random", {"first_batch": 2, "batch": 4}),
    ],
)
def test_batches_are_those_that_are_said(name, options, num_trials):
    first, later = batches(name, num_trials, options)
    expected = [min(first, num_trials)]
    while (left := num_trials - sum(expected)) > 0:
        expected.append(min(later, left))
    assert proposed_at_once(name, num_trials, options) == expected
