"""A value that a key cannot have is refused in one line: the key, what was given, and what is allowed."""

import copy

import pytest

from harness.config.study import parse_config
from harness.errors import InputError

SEARCH = ("routes", "search")
REFUSED = {
    "too small": (("replicates",), -1, "replicates: -1 given; allowed is 1 or more"),
    "too large": (("recipe", "epochs"), 10**21, "given; allowed is 100,000 or less"),
    "not above": (("recipe", "lr"), -2, "recipe.lr: -2 given; allowed is more than 0"),
    "not below": (("recipe", "momentum"), 1, "recipe.momentum: 1 given; allowed is less than 1"),
    "infinite": (("recipe", "lr"), float("inf"), "recipe.lr: inf given; allowed is a finite number"),
    "a fraction": (("replicates",), 1.5, "replicates: 1.5 given; allowed is a whole number"),
    "a text": (("replicates",), "three", "replicates: 'three' given; allowed is a whole number, without quotes"),
    "nothing": (("replicates",), None, "replicates: null given; allowed is a whole number"),
    "no such word": (("recipe", "optimizer"), "adam", "'adam' given; allowed is 'sgd', 'rmsprop', 'adamw'"),
    "a list for a word": (("recipe", "optimizer"), ["sgd"], "['sgd'] given; allowed is 'sgd', 'rmsprop', 'adamw'"),
    "a slash in a name": (("name",), "a/b", "name: 'a/b' given; allowed is letters, digits, '.', '_' and '-'"),
    "no name": (("name",), "", "name: '' given; allowed is letters, digits"),
    "a long name": (("name",), "x" * 300, "given; allowed is 100 characters at most"),
    "a word for a section": (("dataset",), "x", "dataset: 'x' given; allowed is a section of keys with values"),
    "a list for a section": (("routes", "prune", "finetune"), [1], "[1] given; allowed is a section of keys with values"),
    "a word for a list": (("targets",), "0.5M", "targets: '0.5M' given; allowed is a list, as [a, b]"),
    "a number for a text": (("labels",), {"team": 7}, "labels.team: 7 given; allowed is text, in quotes"),
    "a number for a key": (("labels",), {5: "x"}, "labels.5: 5 given; allowed is text, in quotes"),
    "a space in a label": (("labels",), {"a b": "x"}, "labels.a b: 'a b' given; allowed is a letter, then letters"),
    "none of several kinds": (
        (*SEARCH, "strategy"), {"options": {"batch": [1]}},
        "strategy.options.batch: [1] given; allowed is true or false, a whole number, a number, text",
    ),
    "a label called as a kind": (("labels",), {"int": 3}, "labels.int: 3 given; allowed is text, in quotes"),
    "neither the word nor a list": ((*SEARCH, "image_size"), "big", "'big' given; allowed is 'space', a list, as [a, b]"),
    "in a list of several kinds": ((*SEARCH, "image_size"), [4], "search.image_size.0: 4 given; allowed is 8 or more"),
}  # fmt: skip


@pytest.mark.parametrize(("place", "value", "said"), REFUSED.values(), ids=REFUSED)
def test_one_line_says_what_is_allowed(tiny, place, value, said):
    config = copy.deepcopy(tiny)
    section = config
    for key in place[:-1]:
        section = section.setdefault(key, {})
    section[place[-1]] = value
    with pytest.raises(InputError) as told:
        parse_config(config, "mine.yaml")
    [line] = str(told.value).splitlines()
    assert said in line
    assert "Input should" not in line
