"""The space of a network's own parts: counts by hand, members spread over the MACs, members filled up to a target."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from subnet_parts import many_blocks, one_block

from accounting.ledger.parts import macs_of
from nas_baseline.spaces.subnets import SubnetSpace, WidthRule
from nas_baseline.strategies import make_strategy


def test_widths_of_a_group():
    assert WidthRule(4, 1, 0.1).widths(16) == (4, 8, 12, 16)
    assert WidthRule(4, 8, 0.0).widths(20) == (8, 16, 20)
    assert WidthRule(8, 1, 0.5).widths(16) == (8, 10, 12, 14, 16)
    assert WidthRule(8, 8).widths(8) == (8,)
    with pytest.raises(ValueError, match="steps is 1"):
        WidthRule(1)


def test_macs_and_weights_by_hand():
    space = SubnetSpace("toy", one_block(), WidthRule(4, 1, 0.1))
    whole = tuple(int(n) - 1 for n in space.num_choices)
    # 64*(3*8 + 8*16 + 9*16 + 16*8) + 2*4*16 + 8*5
    assert space.macs(whole) == space.parts.macs == 27304
    assert space.params(whole) == 24 + 128 + 144 + 128 + 2 * 64 + 40
    half = (1, 1, 1, 1, 1)
    assert space.member(half) == (4, 8, 2, 1, 1)
    assert space.macs(half) == 64 * (12 + 32 + 72 + 32) + 2 * 2 * 8 + 20
    assert space.macs((1, 1, 1, 1, 0)) == 64 * (12 + 32 + 72 + 32) + 20
    assert space.macs((1, 1, 1, 0, 1)) == 64 * 12 + 20


def test_what_is_left_out_has_no_choices():
    space = SubnetSpace("toy", one_block(), WidthRule(4, 1, 0.1))
    assert space.canonical((1, 0, 0, 0, 0)) == (1, 3, 3, 0, 1)
    assert space.canonical((1, 0, 0, 1, 0)) == (1, 0, 3, 1, 0)
    assert space.smallest() == (0, 3, 3, 0, 1)
    assert space.min_macs() == 64 * 6 + 10
    assert space.max_macs() == 27304


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4]))
def test_moves_stay_inside_and_the_ways_of_counting_agree(seed, round_to):
    space = SubnetSpace("many", many_blocks(), WidthRule(8, round_to, 0.1))
    rng = np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    for arch in (a, b, space.mutate(a, rng), space.crossover(a, b, rng)):
        assert space.canonical(arch) == arch
        assert space.macs(arch) == macs_of(space.parts, space.member(arch))
        assert space.min_macs() <= space.macs(arch) <= space.max_macs()


def test_draws_are_spread_over_the_macs():
    space = SubnetSpace("many", many_blocks())
    macs = space.macs_batch(space.sample_batch(np.random.default_rng(0), 2000)) / space.max_macs()
    shares = np.histogram(macs, bins=[0, 0.1, 0.25, 0.5, 0.75, 1.01])[0] / 2000
    assert shares.min() > 0.05


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1.02, 3), st.sampled_from([1, 4]))
def test_filled_ends_within_one_percent_below_and_keeps_what_there_is(seed, factor, round_to):
    space = SubnetSpace("many", many_blocks(), WidthRule(8, round_to, 0.1))
    arch = space.sample(np.random.default_rng(seed))
    limit = int(space.macs(arch) * factor)
    before, after = space.member(arch), space.filled(arch, limit)
    assert macs_of(space.parts, after) <= limit
    assert all(x <= y for x, y in zip(before, after, strict=True))
    assert before[7:] == after[7:]
    possible = macs_of(space.parts, (32, *[128] * 6, *before[7:]))
    if round_to == 1:
        assert space.is_near(after, limit) or macs_of(space.parts, after) == possible or limit < 60_000
    assert all(width % round_to == 0 for width in after[:7])


def test_filled_grows_in_proportion():
    space = SubnetSpace("many", many_blocks())
    arch = (3, *[1] * 6, *[1] * 6)
    member = space.filled(arch, 2 * space.macs(arch))
    assert space.member(arch)[:7] == (16, *[32] * 6)
    assert member[0] / 16 == pytest.approx(2**0.5, rel=0.1)
    assert all(width / 32 == pytest.approx(2**0.5, rel=0.1) for width in member[1:7])
    with pytest.raises(ValueError, match="above the limit"):
        space.filled(arch, space.macs(arch) - 1)


def test_a_search_finds_what_the_score_rewards():
    """The score rewards one of several equal blocks; predictor evolution keeps that block wide."""
    space = SubnetSpace("many", many_blocks())
    limit = space.max_macs() // 2

    def score(arch):
        widths = np.array(space.member(arch)[:7]) / [32, *[128] * 6]
        return float(0.3 * widths[0] + widths[3] + 0.05 * widths.sum())

    found = {}
    for name in ("random", "predictor_evolution"):
        strategy = make_strategy(name, space, seed=0, num_trials=40, max_macs=[limit])
        while (ask := strategy.ask()) and hasattr(ask, "arch"):
            strategy.tell(ask.trial, score(ask.arch))
        (best,) = strategy.finalists(limit, 1, 0) or strategy.finalists(limit, 0, 1)
        found[name] = score(best)
    assert found["predictor_evolution"] > found["random"]


def test_the_even_member_has_all_blocks_and_the_same_share_of_every_group():
    space = SubnetSpace("many", many_blocks())
    limit = space.max_macs() // 3
    member = space.even(limit)
    shares = np.array(member[:7]) / [32, *[128] * 6]
    assert member[7:] == (1,) * 6
    assert space.is_near(member, limit)
    assert shares.max() - shares.min() < 0.05
    with pytest.raises(ValueError, match=r"narrowest network with all of its blocks has .*; allow narrower"):
        space.even(1000)
    with pytest.raises(ValueError, match=r"no widths end within 1 % below .* \(smaller steps: a lower round_to\)"):
        SubnetSpace("many", many_blocks(), WidthRule(4, 32)).even(limit)


def test_kinds_of_blocks_that_may_not_be_left_out_stay():
    space = SubnetSpace("toy", one_block(), WidthRule(4, 1, 0.1), kinds=("se",))
    members = {space.member(arch)[3:] for arch in space.sample_batch(np.random.default_rng(0), 200)}
    assert members == {(1, 0), (1, 1)}
    assert space.member(space.smallest()) == (2, 4, 4, 1, 0)
