"""Why a question has no answer: each reason as a value, in words, and with the config lines that would give an answer."""

from typing import get_args

import pytest

from reports.answers.find import answer_from_frames
from reports.answers.refusal_text import config_change, reason_text, refusal_sentence, unjudged_headline
from reports.answers.refusals import (
    Delivered,
    FirstNetwork,
    Incomplete,
    LacksRoutes,
    LargerTarget,
    MixedModels,
    NeverSpent,
    NoNetworkYet,
    NotBelowParent,
    NotMeasured,
    NotReached,
    OffTheLine,
    Outside,
    Rehearsal,
    SpentBudget,
    Why,
)
from reports.answers.values import Question, Refused
from reports.data.frames import load_frames

MODELS = MixedModels({"A100": 2.0, "H100": 1.0})
LACKING = (Delivered(500_000, {"prune": 3, "search": 1}),)
COUNTS = "the study is incomplete: at 0.5M MACs, networks delivered by prune 3 of 3 and search 1 of 3 replicates"
EPOCHS = {"recipe.epochs": 12}
LONGER = "recipe: {epochs: 24}  # longer training, in another study (--out)"
REASONS = [
    (Rehearsal(4), "rehearsal: not a measurement", None),
    (
        MODELS,
        "not comparable: GPUs of 2 models were held: A100 (2 h) and H100 (1 h), and hours of one are not those of another",
        None,
    ),
    (
        NotBelowParent(600_000),
        "the parent has 0.6M MACs, so it cannot be pruned to 0.6M; a larger parent can, in another study (run with --out)",
        "parent: {...}  # a network of more than 0.6M MACs, in another study (--out)\ntargets: [0.5M, 0.6M, 0.8M]",
    ),
    (
        Outside(is_by_latency=True),
        "not measured: the study's targets are latencies, which came to 0.5M, 0.8M MACs, and costs are not extrapolated",
        "targets: [0.5M, 0.6M, 0.8M]  # instead of target, in another study (--out)",
    ),
    (
        NotMeasured(),
        "not measured: this is answered at the study's own targets (0.5M, 0.8M), and cannot be interpolated here",
        "targets: [0.5M, 0.6M, 0.8M]",
    ),
    (
        OffTheLine("costs", 4.0),
        "not measured, and interpolating between the study's targets misses measured costs by up to 4.00× "
        "(at most 1.25× is allowed)",
        "targets: [0.5M, 0.6M, 0.8M]",
    ),
    (
        LacksRoutes(("prune", "search")),
        "the study has no prune and no search route, so there is nothing to compare",
        "routes: {prune: {}}  # with its settings\nroutes: {search: {}}  # with its settings",
    ),
    (Incomplete(LACKING, (), None), f"{COUNTS}; `prune-or-search run` with the same config continues", None),
    (Incomplete(LACKING, (), 1), f"{COUNTS}; the study has ended, with 1 failed job", None),
    (
        Incomplete(LACKING, (SpentBudget("search", 1.0, 1.5), SpentBudget("prune", 0.2, 0.1)), None),
        f"{COUNTS}; the budget is spent of search (1.00 GPU-hours) and prune (0.200 GPU-hours)",
        "budget: {search: 3.0 h, prune: 24.0 min}  # or no cap: leave the key out",
    ),
    (
        NotReached(0.9, "search", 0.85, LargerTarget(700_000, 0.91), EPOCHS),
        "no contender reached 90.0 % on validation often enough; the best, search, ends at 85.0 % (median), and costs are "
        "not extrapolated; the parent, with 91.0 %, reaches it, so a larger target may",
        "targets: [0.5M, 0.7M, 0.8M]",
    ),
    (
        NotReached(0.9, "search", 0.85, None, EPOCHS),
        "no contender reached 90.0 % on validation often enough; the best, search, ends at 85.0 % (median), and costs are "
        "not extrapolated",
        LONGER,
    ),
    (
        NeverSpent(10.0, "prune", 3.0, ("prune", "search"), EPOCHS),
        "no contender spent 10.0 GPU-hours on this target; the most, by prune, were 3.00, and accuracies are not "
        "extrapolated; the budget of prune and search was spent",
        "budget: {prune: 20 h, search: 20 h}",
    ),
    (
        NeverSpent(10.0, "prune", 3.0, (), {}),
        "no contender spent 10.0 GPU-hours on this target; the most, by prune, were 3.00, and accuracies are not "
        "extrapolated",
        None,
    ),
    (
        NoNetworkYet(0.5, FirstNetwork("prune", 2.0)),
        "no contender has a network within this target for 0.500 GPU-hours; the first one was measured after 2.00, by "
        "prune",
        None,
    ),
    (NoNetworkYet(0.5, None), "no contender has a network within this target for 0.500 GPU-hours", None),
]


def refused(why, target=600_000):
    return Refused(Question(target, "s", "d", "gpu_hours", (), 3, targets=(500_000, 800_000)), why, ())


@pytest.mark.parametrize(("why", "said", "change"), REASONS, ids=lambda value: type(value).__name__)
def test_in_words(why, said, change):
    given = refused(why)
    assert reason_text(given) == said
    assert config_change(given) == change
    how = "" if change is None else f"; to measure it: {change.replace(chr(10), ' and ')}"
    assert refusal_sentence(given) == f"At 0.6M MACs: no answer: {said}{how}"


@pytest.mark.parametrize(("target", "side"), [(400_000, "below"), (900_000, "above")])
def test_outside_on_either_side(target, side):
    said = reason_text(refused(Outside(is_by_latency=False), target))
    assert f"MACs is {side} the study's targets (0.5M, 0.8M)" in said


def test_every_reason_is_here():
    assert {type(why) for why, _, _ in REASONS} == set(get_args(Why))


def test_the_only_line_of_a_study_that_is_not_judged():
    assert unjudged_headline(Rehearsal(4), 6) == (
        "Rehearsal: not a measurement; 6 networks were delivered, and 4 keys of the config were cut."
    )
    assert unjudged_headline(Rehearsal(1), 1).endswith("; 1 network was delivered, and 1 key of the config was cut.")
    assert unjudged_headline(MODELS, 6) == (
        "Not comparable: GPUs of 2 models were held: A100 (2 h) and H100 (1 h), and hours of one are not those of "
        "another; 6 networks were delivered."
    )


def test_a_study_says_which_networks_it_lacks_and_whose_budget_is_spent(make_study):
    """The parent alone takes 3.42 h, and the budget of pruning is 2 h."""
    frames = load_frames(make_study(until_h=3.0, budget={"search": None, "prune": 2.0}))
    why = answer_from_frames(frames, 500_000).why
    assert isinstance(why, Incomplete)
    (lacking,) = why.lacking
    assert (lacking.target, lacking.by_contender["prune"]) == (500_000, 0)
    (spent,) = why.spent
    assert (spent.route, spent.budget_h) == ("prune", 2.0)
    assert spent.spent_h >= 2.0
    assert why.num_failed is None
