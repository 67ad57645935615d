"""The benchmark's space matches the published table: MACs, distinct networks, and a search on it."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("PRUNE_OR_SEARCH_SHARED", ROOT.parent / "shared"))
TABLE = SHARED / "data" / "nas-bench-macro_cifar10.json"


@pytest.fixture(scope="module")
def macro():
    spec = importlib.util.spec_from_file_location("nas_bench_macro", ROOT / "benchmarks" / "nas_bench_macro.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table(macro):
    if not TABLE.is_file():
        pytest.skip(f"needs the NAS-Bench-Macro table (set PRUNE_OR_SEARCH_SHARED); not at {TABLE.name}'s usual place")
    return macro.Table(TABLE)


def test_smallest_network_by_hand(macro):
    # Stem; three strided 1x1 convolutions (outputs of 16, 8 and 4 pixels a side); 1280 features; classifier.
    by_hand = 32**2 * 27 * 32 + 16**2 * 32 * 64 + 8**2 * 64 * 128 + 4**2 * 128 * 256 + 4**2 * 256 * 1280 + 1280 * 10
    space = macro.MacroSpace()
    assert space.macs((0,) * 8) == by_hand == 7_713_280
    assert space.params((0,) * 8) == 27 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 1280 + 1280 * 10


def test_all_published_macs_and_the_distinct_networks(macro, table):
    # Table raises an error if any of the MACs differs.
    assert table.num_archs == 6561
    distinct = {table.space.canonical(a) for a in table.mean}
    assert len(distinct) == 3969
    for arch in list(table.mean)[::50]:
        assert table.mean[arch] == table.mean[table.space.canonical(arch)]
    assert [round(table.best(b), 3) for b in macro.BUDGETS.values()] == [91.507, 92.567, 93.08, 93.127]


def test_search_beats_random_on_the_table(macro, table):
    macro.BUDGETS = {"60M": 60_000_000}
    macro.QUERIES = (30,)
    guided = macro.regret(table, "predictor_evolution", range(4), {})["60M n=30"]["mean"]
    random = macro.regret(table, "random", range(4), {})["60M n=30"]["mean"]
    assert guided < random
    assert guided < 0.35


def test_gaussian_process_ranks_the_table(macro, table):
    from scipy.stats import kendalltau

    archs = sorted({table.space.canonical(a) for a in table.mean})
    truth = np.array([table.mean[a] for a in archs])
    encode = macro.Encoder(table.space, archs)
    rows = np.random.default_rng(0).permutation(len(archs))
    model = macro.GaussianProcess()
    model.fit(encode([archs[i] for i in rows[:100]]), truth[rows[:100]])
    predicted = model.predict(encode([archs[i] for i in rows[100:]]))[0]
    assert kendalltau(predicted, truth[rows[100:]]).statistic > 0.8
