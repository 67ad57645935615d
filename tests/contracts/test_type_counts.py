"""Limits on how much of the packages is untyped; ``python benchmarks/type_counts.py --list`` shows where."""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import type_counts


def test_no_more_is_untyped_than_is_allowed():
    found, listed = type_counts.counts()
    total = sum(found.values(), Counter())
    over = {kind: total[kind] for kind, most in type_counts.LIMITS.items() if total[kind] > most}
    assert not over, f"over {type_counts.LIMITS}: {over}; signatures: {listed}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x: Any = 1", (0, 1, 0)),
        ("def f(a: dict[str, Any], b: dict[str, Any]) -> None: ...", (1, 2, 0)),
        ("def f(a: 'Row') -> None: ...", (1, 0, 0)),
        ("def f(x):\n    assert x is not None", (0, 0, 1)),
        ("from typing import Any", (0, 0, 0)),
    ],
)
def test_each_is_counted(source, expected):
    module = type_counts.Module(type_counts.ROOT / "harness" / "made_up.py", ast.parse(source))
    signatures = len(list(type_counts.signatures(module, {"Row"})))
    assert (signatures, type_counts.num_any(module), type_counts.num_asserts(module)) == expected
