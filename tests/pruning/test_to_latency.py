import logging
import random

import pytest
import torch
from torch import nn

from accounting.macs.count import count_macs
from accounting.words.quantities import macs_text
from pruning.layers import by_name
from pruning.solve import UnreachableTarget
from pruning.structured import prune_channels_to_macs
from pruning.to_latency import Outcome, _smallest_macs, prune_channels_to_latency

pytest.importorskip("torch_pruning")
SIZE = (3, 8, 8)


def network(width=64):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5),
    ).eval()  # fmt: skip


DENSE = 64 * (3 * 64 + 64 * 64 + 64 * 64) + 64 * 5


class FakeMachine:
    """Takes ``fixed_ms`` plus a time proportional to the MACs, in total ``dense_ms`` if dense; counts its calls."""

    def __init__(self, dense_ms=100.0, fixed_ms=0.0, noise=0.0, seed=0):
        self.fixed_ms, self.per_mac = fixed_ms, (dense_ms - fixed_ms) / DENSE
        self.noise, self.random, self.calls = noise, random.Random(seed), 0

    def __call__(self, model):
        self.calls += 1
        exact = self.fixed_ms + self.per_mac * count_macs(model, SIZE).macs
        return exact * (1 + self.noise * self.random.uniform(-1, 1))


def test_time_in_proportion_to_macs_gives_the_share_of_macs():
    machine = FakeMachine()
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = prune_channels_to_latency(model, SIZE, 50.0, machine)
    assert count_macs(model, SIZE).macs == DENSE
    assert result.outcome is Outcome.HIT
    assert 47.5 <= result.latency_ms <= 50.0
    assert 0.475 * DENSE <= result.pruned.macs <= 0.5 * DENSE
    assert result.pruned.macs == count_macs(result.pruned.model, SIZE).macs
    assert result.dense_ms == pytest.approx(100.0)
    assert result.probes[0] == (DENSE, pytest.approx(100.0))
    assert result.probes[-1] == (result.pruned.macs, result.latency_ms) == result.probes[-2]
    assert len(result.probes) == machine.calls <= 16
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_fixed_time_asks_for_fewer_macs():
    # 40 ms are fixed: a target of 70 ms leaves 30 ms of the dense network's 60 ms for MACs, a half.
    result = prune_channels_to_latency(network(), SIZE, 70.0, FakeMachine(fixed_ms=40.0), tolerance=0.02)
    assert result.outcome is Outcome.HIT
    assert (0.98 * 70 - 40) / 60 * DENSE <= result.pruned.macs <= 0.5 * DENSE


@pytest.mark.parametrize("seed", range(10))
def test_noise_ends_within_the_bound_and_meets_the_target(seed):
    machine = FakeMachine(noise=0.1, seed=seed)
    result = prune_channels_to_latency(network(), SIZE, 50.0, machine, max_measurements=12)
    assert machine.calls <= 12
    assert result.latency_ms <= 50.0
    assert 0.2 * DENSE < result.pruned.macs < 0.56 * DENSE  # a network with 0.56 of the MACs takes at least 50.4 ms
    again = prune_channels_to_latency(network(), SIZE, 50.0, FakeMachine(noise=0.1, seed=seed), max_measurements=12)
    assert again.probes == result.probes


def test_an_unreachable_latency_names_the_smallest():
    machine = FakeMachine(fixed_ms=40.0)
    smallest = _smallest_macs(network(), SIZE, 1, 0.1, None)
    with pytest.raises(UnreachableTarget) as raised:
        prune_channels_to_latency(network(), SIZE, 30.0, machine)
    assert machine.calls == 2
    assert macs_text(smallest) in str(raised.value)
    assert f"{40 + 60 * smallest / DENSE:.4g} ms" in str(raised.value)


def test_already_met_gives_the_dense_network():
    machine = FakeMachine()
    model = network()
    result = prune_channels_to_latency(model, SIZE, 100.5, machine)
    assert result.outcome is Outcome.ALREADY_MET
    assert machine.calls == 2
    assert result.pruned.macs == DENSE and result.pruned.widths == {}
    assert result.pruned.model is not model
    assert torch.equal(result.pruned.model[0].weight, model[0].weight)


def test_steps_of_latency_give_the_largest_network_that_met(caplog):
    # 100 ms above half of the MACs and 10 ms below: no network comes close to 50 ms.
    def measure(model):
        return 100.0 if count_macs(model, SIZE).macs > DENSE / 2 else 10.0

    with caplog.at_level(logging.WARNING):
        result = prune_channels_to_latency(network(), SIZE, 50.0, measure)
    assert result.outcome is Outcome.BELOW and result.latency_ms == 10.0
    assert 0.47 * DENSE < result.pruned.macs <= DENSE / 2
    assert "within 5 %" in caplog.text


def test_a_measure_that_never_repeats_itself_is_given_up():
    # Every network is fast when first measured and slow from then on.
    seen = set()

    def measure(model):
        macs = count_macs(model, SIZE).macs
        first = macs not in seen and macs < DENSE
        seen.add(macs)
        return 49.0 if first else 60.0

    with pytest.raises(UnreachableTarget, match="two measurements"):
        prune_channels_to_latency(network(), SIZE, 50.0, measure)


def test_a_dense_network_that_met_the_target_by_chance_is_pruned():
    times_ms = iter([49.0, 60.0])
    machine = FakeMachine(dense_ms=60.0)
    result = prune_channels_to_latency(network(), SIZE, 50.0, lambda model: next(times_ms, None) or machine(model))
    assert result.outcome is Outcome.HIT and result.dense_ms == 49.0
    assert 47.5 / 60 * DENSE <= result.pruned.macs <= 50 / 60 * DENSE


def test_coarse_widths():
    # Multiples of 16 leave few networks; one of them is found.
    result = prune_channels_to_latency(network(), SIZE, 50.0, FakeMachine(), round_to=16, tolerance=0.3)
    assert all(kept % 16 == 0 for _, kept in result.pruned.widths.values())
    assert 35.0 <= result.latency_ms <= 50.0


@pytest.mark.parametrize("round_to", [1, 8, 48])
@pytest.mark.parametrize("floor", [0.0, 0.3, 1.0])
def test_the_smallest_is_what_structured_removal_can_reach(round_to, floor):
    keep = by_name("0")
    smallest = _smallest_macs(network(), SIZE, round_to, floor, keep)
    options = {"round_to": round_to, "floor": floor, "keep": keep}
    assert prune_channels_to_macs(network(), SIZE, smallest, **options).macs == smallest
    with pytest.raises(UnreachableTarget):
        prune_channels_to_macs(network(), SIZE, smallest - 1, **options)


@pytest.mark.parametrize(
    "wrong",
    [{"latency_ms": 0.0}, {"tolerance": 0.0}, {"max_measurements": 5}, {"round_to": 0}, {"floor": 2.0},
     {"scope": "local"}, {"criterion": "nothing"}],
)  # fmt: skip
def test_arguments_out_of_range(wrong):
    machine = FakeMachine()
    with pytest.raises(ValueError):
        prune_channels_to_latency(network(), SIZE, **{"latency_ms": 50.0, "measure": machine, **wrong})
    assert machine.calls == 0


def test_a_measurement_that_is_no_number():
    with pytest.raises(ValueError, match="positive"):
        prune_channels_to_latency(network(), SIZE, 50.0, lambda model: float("nan"))


def test_batches_may_be_a_generator():
    batches = ((torch.randn(4, *SIZE), torch.tensor([0, 1, 2, 3])) for _ in range(2))
    result = prune_channels_to_latency(network(), SIZE, 50.0, FakeMachine(), criterion="taylor", batches=batches)
    assert result.outcome is Outcome.HIT
