import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning.select import ALWAYS, NEVER, keys_of, select, top

KEY = st.one_of(st.integers(0, 5), st.integers(0x3F800000, 0x3F800400), st.integers(0, 0x7F7FFFFF), st.just(NEVER))
LAYERS = st.lists(
    st.tuples(st.lists(KEY, min_size=1, max_size=30), st.sampled_from([1, 2, 7, 9, 49, 100])), min_size=1, max_size=5
)


def greedy(keys, costs, budget):
    """The definition: walk all weights by falling key, then layer, then index, and keep each that still fits."""
    masks = [[False] * len(layer) for layer in keys]
    walk = sorted((-k, i, j) for i, layer in enumerate(keys) for j, k in enumerate(layer) if k != NEVER)
    for negative, i, j in walk:
        if -negative == ALWAYS or costs[i] <= budget:
            masks[i][j] = True
            budget -= costs[i]
    return masks


@given(LAYERS, st.floats(0, 1.1))
@settings(max_examples=300, deadline=None)
def test_selects_what_the_greedy_walk_over_a_full_sort_selects(layers, share):
    keys, costs = [layer for layer, _ in layers], [cost for _, cost in layers]
    budget = int(share * sum(len(k) * c for k, c in layers))
    masks = select([torch.tensor(k, dtype=torch.int32) for k in keys], costs, budget)
    assert [m.tolist() for m in masks] == greedy(keys, costs, budget)


@given(st.lists(KEY, min_size=1, max_size=60), st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_a_smaller_budget_gives_a_subset_where_costs_are_equal(layer, a, b):
    keys = torch.tensor(layer, dtype=torch.int32)
    small, large = (top(keys, n) for n in sorted((a, b)))
    assert not (small & ~large).any()
    assert int(large.sum()) == min(max(a, b), sum(k != NEVER for k in layer))


def test_what_is_left_goes_to_the_next_best_that_fit():
    # Costs 10 and 3. Budget 20: the 9 and the 8 fit exactly. Budget 19: the 8 does not fit, but 7, 6 and 5 do.
    keys = [torch.tensor([9, 8, 4], dtype=torch.int32), torch.tensor([7, 6, 5, 3], dtype=torch.int32)]
    assert [m.tolist() for m in select(keys, [10, 3], 20)] == [[True, True, False], [False] * 4]
    assert [m.tolist() for m in select(keys, [10, 3], 19)] == [[True, False, False], [True, True, True, False]]


def test_weights_that_must_stay_stay_beyond_the_budget():
    keys = [torch.tensor([ALWAYS, ALWAYS, 5], dtype=torch.int32), torch.tensor([6, NEVER], dtype=torch.int32)]
    assert [m.tolist() for m in select(keys, [4, 1], 0)] == [[True, True, False], [False, False]]
    assert [m.tolist() for m in select(keys, [4, 1], 9)] == [[True, True, False], [True, False]]
    assert [m.tolist() for m in select(keys, [4, 1], 100)] == [[True, True, True], [True, False]]


def test_keys_keep_the_order_of_the_scores_and_drop_zero_weights():
    scores = torch.tensor([0.0, 1e-40, 1e-3, 1.0, 2.0, 5.0])
    keys = keys_of(scores, torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])).tolist()
    assert keys[:5] == sorted(keys[:5]) and len(set(keys[:5])) == 5
    assert keys[5] == NEVER


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_scores_that_have_no_order_are_refused(bad):
    with pytest.raises(ValueError, match="finite and at least 0"):
        keys_of(torch.tensor([1.0, bad]), torch.ones(2))


def test_scores_must_be_float32():
    with pytest.raises(ValueError, match="float32"):
        keys_of(torch.ones(2, dtype=torch.float64), torch.ones(2))
