import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.schedules import gradual, iterative, iterative_targets, one_shot


def test_one_shot_is_the_target_from_the_start():
    assert [one_shot(p, 100, 40) for p in (0.0, 0.5, 1.0)] == [40, 40, 40]


def test_iterative_rounds_keep_the_same_share():
    assert iterative_targets(1000, 125, 3) == (500, 250, 125)
    assert [iterative(p, 1000, 125, num_rounds=3) for p in (0.0, 0.32, 0.34, 0.7, 1.0)] == [500, 500, 250, 125, 125]
    assert iterative_targets(1000, 300, 1) == (300,)


def test_gradual_is_the_papers_cubic():
    # At t = 0, 1/2, 1 the cube of the remaining share is 1, 1/8, 0.
    assert [gradual(p, 900, 100, begin=0.0, end=0.5) for p in (0.0, 0.25, 0.5, 1.0)] == [900, 200, 100, 100]
    assert gradual(0.1, 900, 100, begin=0.2, end=0.5) == 900


@given(
    start=st.integers(1, 10**10),
    share=st.floats(0, 1),
    a=st.floats(0, 1),
    b=st.floats(0, 1),
    schedule=st.sampled_from([one_shot, iterative, gradual]),
)
def test_never_rises_and_ends_at_the_target(start, share, a, b, schedule):
    target = max(1, int(start * share))
    early, late = (schedule(p, start, target) for p in sorted((a, b)))
    assert start >= early >= late >= target == schedule(1.0, start, target)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: one_shot(1.5, 10, 5), "progress is 1.5"),
        (lambda: one_shot(0.5, 10, 0), "target_macs is 0"),
        (lambda: gradual(0.5, 10, 11), "target_macs is 11"),
        (lambda: iterative(0.5, 10, 5, num_rounds=0), "num_rounds is 0"),
        (lambda: gradual(0.5, 10, 5, begin=0.5, end=0.5), "0 <= begin < end <= 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
