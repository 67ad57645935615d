"""Successive halving in the search: its config and jobs, rungs that form one training, and bit-exact resuming."""

import re

import pytest
from test_training import CPU, Seen, network, same, splits  # noqa: F401

from harness.config.halving import Halving
from harness.config.recipe import Recipe
from harness.config.study import load_configs
from harness.errors import InputError
from harness.training.course import Course
from harness.training.loop import train
from harness.training.resume import Relay, StateFiles, StateLost


def config(tiny, **search):
    tiny["routes"] = {"search": {"strategy": {"name": "random", "num_trials": 4}, "retrain": {"epochs": 1}} | search}
    return tiny


@pytest.mark.parametrize(
    ("halving", "epochs", "ends"),
    [
        (Halving(), 9, (1, 3, 9)),
        (Halving(), 50, (5, 16, 50)),
        (Halving(eta=2, rungs=4), 20, (2, 5, 10, 20)),
        (Halving(), 3, (1, 3)),
        (Halving(), 1, (1,)),
    ],
)
def test_rungs_end_at_whole_epochs(halving, epochs, ends):
    assert halving.ends(epochs) == ends


@pytest.mark.parametrize("halving", [Halving(eta=eta, rungs=rungs) for eta in (2, 3, 5) for rungs in (2, 3, 4)])
def test_the_least_epochs_are_the_fewest_in_which_all_rungs_differ(halving):
    assert len(halving.ends(halving.least_epochs)) == halving.rungs
    assert len(halving.ends(halving.least_epochs - 1)) < halving.rungs


REFUSED = {
    "beside the one early stop": (
        {"halving": {}, "early_stop": True, "candidate": {"epochs": 9}},
        "routes.search.early_stop and routes.search.halving are both given",
    ),
    "beside its correlation": (
        {"halving": {}, "early_stop_tau": 0.8, "candidate": {"epochs": 9}},
        "routes.search.early_stop_tau and routes.search.halving are both given",
    ),
    "too few epochs": (
        {"halving": {}, "candidate": {"epochs": 5}},
        "would end at 1, 5; set routes.search.candidate.epochs to at least 6",
    ),
    "a supernet": ({"halving": {}, "strategy": {"name": "supernet"}}, "routes.search.halving: has no effect"),
    "eta of 1": ({"halving": {"eta": 1}}, "routes.search.halving.eta"),
    "one rung": ({"halving": {"rungs": 1}}, "routes.search.halving.rungs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_its_keys(tiny, write_config, case):
    search, line = REFUSED[case]
    with pytest.raises(InputError, match=re.escape(line)):
        load_configs(write_config(config(tiny, **search)))


def test_early_stop_off_may_stand_beside_it(tiny, write_config):
    load_configs(write_config(config(tiny, halving={}, early_stop=False, candidate={"epochs": 9})))


RECIPES = {
    "sgd": Recipe(epochs=6, batch_size=10, lr=0.1, augment="none"),
    "adamw with an average": Recipe(
        epochs=6, batch_size=10, optimizer="adamw", lr=0.01, ema_decay=0.9, mixup_alpha=0.2
    ),
    "rmsprop with a warm-up": Recipe(epochs=6, batch_size=10, optimizer="rmsprop", lr=0.01, warmup_epochs=3),
}


def in_parts(splits, folder, recipe, ends, kill=None):  # noqa: F811
    """Train with a new network for each part; ``kill`` is the (part, epoch) at whose end the process dies once."""
    before, begin = None, 0
    for part, end in enumerate(ends):
        after = folder / f"state-{part}" if end < recipe.epochs else None
        relay = Relay("training", before, begin, after)

        def attempt(seen, part=part, end=end, relay=relay):
            return train(
                network(), splits, recipe, seed=5, device=CPU, masks={},
                files=StateFiles(folder / f"resume-{part}", relay=relay), hooks=seen.hooks, course=Course(stop_epoch=end),
            )  # fmt: skip

        if kill is not None and kill[0] == part:
            with pytest.raises(InterruptedError):
                attempt(Seen(stop_after=kill[1]))
        seen = Seen()
        trained = attempt(seen)
        if kill is None:
            assert seen.begun == [begin], "nothing is trained twice"
            assert [epoch.epoch for epoch in seen.epochs] == list(range(begin + 1, end + 1))
        before, begin = after, end
    return trained


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
@pytest.mark.parametrize("kill", [None, (1, 3), (2, 5), (2, 6)])
def test_a_training_in_parts_is_the_training_to_the_bit(splits, tmp_path, recipe, kill):  # noqa: F811
    whole = train(
        network(),
        splits,
        recipe,
        seed=5,
        device=CPU,
        masks={},
        files=StateFiles(tmp_path / "whole"),
        hooks=Seen().hooks,
    )
    parted = in_parts(splits, tmp_path, recipe, (1, 3, 6), kill)
    assert parted.val_curve == whole.val_curve
    assert same(parted.model.state_dict(), whole.model.state_dict())


def test_a_state_of_another_training_or_epoch_is_not_gone_on_with(splits, tmp_path):  # noqa: F811
    recipe = RECIPES["sgd"]
    in_parts(splits, tmp_path, recipe, (2,))
    for relay in (Relay("another", tmp_path / "state-0", 2), Relay("training", tmp_path / "none", 2)):
        with pytest.raises(StateLost):
            train(
                network(), splits, recipe, seed=5, device=CPU, masks={},
                files=StateFiles(tmp_path / "r", relay=relay), hooks=Seen().hooks,
            )  # fmt: skip
