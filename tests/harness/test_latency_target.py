"""Targets in milliseconds are measured once, stored with the study, and refused if they cannot be met."""

import copy
from types import SimpleNamespace

import pytest

from accounting.macs.count import count_macs
from harness.config.study import parse_config
from harness.errors import InputError
from harness.latency import target as latency_target
from harness.latency.target import resolve_targets

BASE = {
    "name": "ms",
    "dataset": {"name": "fashion_mnist_mini"},
    "parent": {"family": "fbnetv3_mini", "variant": "l"},
    "target": {"latency_ms": [6.0, 4.0]},
    "routes": {"prune": {"criterion": "channels_magnitude"}},
}


def config(**changes):
    return parse_config(copy.deepcopy(BASE) | changes, "test")


@pytest.fixture
def clock(monkeypatch):
    """A clock by which 100,000 MACs take a millisecond on every machine."""
    calls = []

    def time_network(model, input_size, **_):
        calls.append(count_macs(model, input_size).macs)
        return SimpleNamespace(median_ms=calls[-1] / 1e5)

    monkeypatch.setattr(latency_target, "time_network", time_network)
    return calls


def test_milliseconds_become_macs(clock):
    resolved = resolve_targets(config(), None)
    assert len(resolved.targets) == 2
    for macs, latency_ms in zip(resolved.targets, (6.0, 4.0), strict=True):
        assert 0.94 * latency_ms * 1e5 <= macs <= 1.01 * latency_ms * 1e5


def test_a_resumed_study_has_the_targets_it_had(clock):
    first = resolve_targets(config(), None)
    measured = len(clock)
    again = resolve_targets(config(), parse_config(first.model_dump(mode="json"), "stored"))
    assert again.targets == first.targets
    assert len(clock) == measured, "nothing is measured again"


def test_targets_in_macs_are_left_alone(clock):
    given = config(target=None, targets=["0.5M"])
    assert resolve_targets(given, None) is given
    assert not clock


@pytest.mark.parametrize(("latency_ms", "said"), [(1000.0, "name latencies below it"), (0.01, "smallest")])
def test_what_cannot_be_is_refused(clock, latency_ms, said):
    with pytest.raises(InputError, match=said):
        resolve_targets(config(target={"latency_ms": latency_ms}), None)


def test_zeros_are_no_way_to_a_latency():
    with pytest.raises(InputError, match="zeros in a network do not make it faster"):
        config(routes={"prune": {"criterion": "global_magnitude"}})


def test_a_latency_that_is_added_is_measured_and_the_others_are_kept(clock):
    first = resolve_targets(config(), None)
    measured = len(clock)
    more = resolve_targets(config(target={"latency_ms": [5.0, 6.0, 4.0]}), first)
    assert len(clock) > measured
    assert (more.targets[0], more.targets[2]) == tuple(first.targets)
    assert first.targets[1] < more.targets[1] < first.targets[0]


def test_an_added_latency_that_contradicts_the_earlier_ones_is_refused(clock, monkeypatch):
    first = resolve_targets(config(), None)
    monkeypatch.setattr(
        latency_target, "time_network", lambda model, input_size, **_: SimpleNamespace(
            median_ms=count_macs(model, input_size).macs / 2e5
        )
    )  # fmt: skip
    with pytest.raises(InputError, match="contradict each other"):
        resolve_targets(config(target={"latency_ms": [6.0, 4.0, 3.9]}), first)
