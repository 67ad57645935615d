"""Config values: nothing is converted, every number has bounds, and a value that would be cut silently is refused."""

from types import NoneType
from typing import Annotated, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel
from refusals import changed

from harness.config.routes import BudgetConfig, as_found
from harness.config.study import StudyConfig, load_configs
from harness.errors import InputError

IN_BOUNDS_BY_ITS_UNIT = {
    "targets",
    *(f"budget.{name}" for name in as_found(BudgetConfig).model_fields),
}
"""Checked by accounting/words/quantities.py."""


def numbers(annotation, metadata=(), where=""):
    """(place, metadata) of each number that a section may contain."""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        yield from numbers(annotation, (*metadata, *more), where)
    elif annotation in (int, float):
        yield where, metadata
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in as_found(annotation).model_fields.items():
            if field.exclude:
                continue  # not written by users
            yield from numbers(field.annotation, tuple(field.metadata), f"{where}.{name}".lstrip("."))
    elif annotation is not NoneType:
        is_list = get_origin(annotation) is list
        for part in get_args(annotation) if get_origin(annotation) is not dict else ():
            yield from numbers(part, () if is_list else metadata, where)


def is_bounded(metadata):
    below = any(isinstance(m, annotated_types.Ge | annotated_types.Gt) for m in metadata)
    return below and any(isinstance(m, annotated_types.Le | annotated_types.Lt) for m in metadata)


def test_every_number_has_a_least_and_a_greatest_value():
    found = dict(numbers(StudyConfig))
    assert {"recipe.lr", "dataset.mean", "target.latency_ms", "routes.search_then_prune.prune.floor"} <= set(found)
    free = {place for place, metadata in found.items() if not is_bounded(_flat(metadata))}
    assert free == IN_BOUNDS_BY_ITS_UNIT


def _flat(metadata):
    return [part for m in metadata for part in (m.metadata if hasattr(m, "metadata") else [m])]


# (key, value, what the message must say)
CONVERTED = {
    "a number in quotes": ("replicates", "3", ["replicates", "'3'", "whole number, without quotes"]),
    "a fraction in quotes": ("recipe.lr", "0.1", ["recipe.lr", "'0.1'", "without quotes"]),
    "a number in quotes in a phase": ("routes.prune.finetune.epochs", "2", ["finetune.epochs", "'2'"]),
    "a number in quotes in a list": ("routes.analysis", {"sparsities": ["0.5"]}, ["sparsities.0", "'0.5'"]),
    "a latency in quotes": ("target", {"latency_ms": "2.5"}, ["latency_ms", "'2.5'"]),
    "yes": ("export", {"int8": "yes"}, ["export.int8", "'yes'", "true or false"]),
    "on": ("routes.search.early_stop", "on", ["early_stop", "'on'", "true or false"]),
    "true in quotes": ("dataset.download", "true", ["dataset.download", "'true'", "true or false"]),
    "one as a switch": ("export", {"int8": 1}, ["export.int8", "1", "true or false"]),
    "a switch as a number": ("replicates", True, ["replicates", "true"]),
    "a switch in a list": ("routes.analysis", {"sparsities": [False]}, ["sparsities.0", "false"]),
    "nothing in a list": ("routes.prune.criterion", ["global_lamp", None], ["criterion.1: empty; give a value, or remove"]),
    "a number as a name": ("name", 3, ["name", "3", "in quotes"]),
    "part of an epoch": ("recipe.epochs", 2.5, ["recipe.epochs", "2.5"]),
    "a huge rate": ("recipe.lr", 1e308, ["recipe.lr", "1e+308", "1,000"]),
    "a huge decay of a phase": ("routes.prune.finetune.weight_decay", 1e9, ["finetune.weight_decay", "1000"]),
    "a huge mean": ("dataset.mean", [1e300], ["dataset.mean.0", "1,000"]),
    "a huge budget": ("budget", {"prune": "9" * 30 + " d"}, ["budget.prune", "units"]),
}  # fmt: skip
TAKEN = {
    "a whole number as a fraction": ("recipe.lr", 1),
    "a whole number with a point": ("replicates", 2.0),
    "a whole number with an exponent": ("dataset.num_train", 1e3),
    "one latency": ("routes.prune.finetune.lr", 1e-3),
}
CUT = {
    "warm-up of a phase": (
        "routes.prune.finetune", {"epochs": 4, "warmup_epochs": 3}, ["routes.prune.finetune", "3", "4 epochs", "at most 2"]),
    "warm-up of the recipe": (
        "recipe", {"batch_size": 50, "warmup_epochs": 5}, ["parent.pretrain", "5", "2 epochs", "at most 1"]),
    "warm-up of a round": (
        "routes.prune", {"schedule": "iterative", "rounds": 2, "finetune": {"epochs": 4, "warmup_epochs": 2}},
        ["routes.prune.finetune", "2", "2 epochs", "at most 1"]),
    "warm-up of a control": ("routes.scratch.train.warmup_epochs", 0.75, ["routes.scratch.train", "0.75", "1 epochs"]),
    "warm-up of a supernet": (
        "routes.supernet", {"supernet": {"epochs": 2, "warmup_epochs": 2}}, ["routes.supernet.supernet", "2 epochs"]),
    "a least rate above the rate": (
        "routes.prune.finetune", {"epochs": 2, "min_lr": 0.2}, ["routes.prune.finetune", "0.2", "0.05"]),
    "a least rate above a phase's": (
        "recipe", {"batch_size": 50, "lr": 0.5, "min_lr": 0.1}, ["routes.prune.finetune", "min_lr", "0.1", "0.05"]),
    "a mean beyond the pixels": ("dataset.mean", [127.5], ["dataset.mean", "127.5", "0 to 1"]),
    "a deviation beyond the pixels": ("dataset.std", [58.0], ["dataset.std", "58", "0 to 1"]),
}  # fmt: skip


@pytest.mark.parametrize("case", [*CONVERTED, *CUT])
def test_a_value_that_is_not_meant_so_is_refused_by_name(case, tiny, write_config):
    path, value, says = (CONVERTED | CUT)[case]
    config = write_config(changed(tiny, path, value))
    with pytest.raises(InputError) as refused:
        load_configs(config)
    assert any(all(part in line for part in says) and f"{config}:" in line for line in refused.value.args), (
        refused.value.args
    )


@pytest.mark.parametrize("case", TAKEN)
def test_a_value_that_can_only_mean_one_thing_is_taken(case, tiny, write_config):
    path, value = TAKEN[case]
    assert load_configs(write_config(changed(tiny, path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recipe", {"batch_size": 50, "warmup_epochs": 1, "epochs": 8}),
        ("routes.scratch.train", {"epochs": 1, "warmup_epochs": 0.5}),
        ("routes.prune.finetune", {"epochs": 2, "min_lr": 0.05, "lr": 0.05}),
    ],
)
def test_what_is_just_allowed_is_taken(path, value, tiny, write_config):
    if path == "recipe":
        tiny["parent"]["pretrain"] = tiny["routes"]["search"]["candidate"] = {"epochs": 2}
        tiny["routes"]["search"]["retrain"] = tiny["routes"]["scratch"]["train"] = {"epochs": 2}
    assert load_configs(write_config(changed(tiny, path, value)))


STRATEGY_PLACES = ("routes.search", "routes.supernet", "routes.search_then_prune.search")


@pytest.mark.parametrize("place", STRATEGY_PLACES)
@pytest.mark.parametrize(
    ("strategy", "key", "says"),
    [
        ({"name": "predictr_evolution"}, "name:", "did you mean 'predictor_evolution'"),
        ({"name": "supernet", "options": {"btach": 2}}, "btach:", "did you mean 'batch'"),
        ({"name": "supernet", "options": {"batch": "4"}}, "batch:", "'4'; a whole number is allowed"),
        ({"name": "supernet", "options": {"confidence": 5000}}, "confidence:", "0 to 1000"),
    ],
)
def test_a_strategy_s_mistakes_come_with_all_others_each_with_its_line(
    place, strategy, key, says, tiny, write_config
):  # fmt: skip
    tiny = changed(tiny | {"replicates": 0, "recipe": {"optimiser": "sgd"}}, f"{place}.strategy", strategy)
    config = write_config(tiny)
    with pytest.raises(InputError) as refused:
        load_configs(config)
    where = f"{place}.strategy." + ("options." if "options" in strategy else "") + key
    (line,) = [line for line in refused.value.args if where in line]
    assert says in line
    (number,) = [n for n, text in enumerate(config.read_text().splitlines(), 1) if text.strip().startswith(key)
                 and str(next(iter(strategy.get("options", strategy).values()))).strip("'") in text]  # fmt: skip
    assert line.startswith(f"{config}:{number}: ")
    assert len(refused.value.args) == 3
    assert all(any(word in line for line in refused.value.args) for word in ("replicates", "did you mean 'optimizer'"))


def test_several_wrong_options_are_a_line_each(tiny, write_config):
    tiny["routes"]["search"]["strategy"] = {"options": {"batch": 2.5, "first_batch": True, "predictor": 1}}
    with pytest.raises(InputError) as refused:
        load_configs(write_config(tiny))
    assert [line.partition(": ")[2].partition(":")[0].rpartition(".")[2] for line in refused.value.args] == [
        "batch", "first_batch", "predictor"]  # fmt: skip


@pytest.mark.parametrize("pair", [["search", "prune"], ["prune", "prune:global_lamp"], ["prune"], "search"])
def test_the_pair_of_a_verdict_is_pruning_and_another_route(tiny, write_config, pair):
    with pytest.raises(InputError, match="verdict"):
        load_configs(write_config(changed(tiny, "verdict.pair", pair)))
