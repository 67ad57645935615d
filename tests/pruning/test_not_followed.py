"""A network whose channels cannot be followed is refused soon, with a reason, whatever Torch-Pruning does with it."""

import threading

import pytest
import timm
import torch
from torch import nn

from accounting.macs.count import count_macs
from pruning import deadline, dependency_graph, structured
from pruning.blocks import prune_blocks_to_macs
from pruning.channels import NotFinite, NotFollowed, following
from pruning.dead import remove_dead_channels
from pruning.deadline import Deadline, MachineTooBusy
from pruning.solve import UnreachableTarget
from pruning.structured import prune_channels_to_macs
from pruning.to_latency import prune_channels_to_latency

DependencyGraph = pytest.importorskip("torch_pruning").DependencyGraph
SHAPE = (3, 32, 32)


def net(name="resnet18", **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=10, **kwargs).eval()


def prune(model, share=0.6, shape=SHAPE):
    return prune_channels_to_macs(model, shape, int(share * count_macs(model, shape).macs))


WAYS = {
    "channels": prune,
    "blocks": lambda m: prune_blocks_to_macs(m, SHAPE, count_macs(m, SHAPE).macs // 2),
    "dead channels": lambda m: remove_dead_channels(m, SHAPE),
    "a latency": lambda m: prune_channels_to_latency(m, SHAPE, 1.0, lambda _: 2.0),
}


@pytest.mark.parametrize("error", [IndexError, KeyError, AttributeError, AssertionError, RecursionError, OSError])
@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_raised_there_has_one_kind(way, error, monkeypatch):
    def fail(*_args):
        raise error("list index\nout of range")

    monkeypatch.setattr(dependency_graph, "_group", fail)
    with pytest.raises(NotFollowed, match="Torch-Pruning cannot follow the network's channels") as caught:
        WAYS[way](net())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
def test_the_work_is_limited_wherever_channels_are_followed(way, monkeypatch):
    monkeypatch.setattr(deadline, "WORK_LIMIT_S", 0.0)
    with pytest.raises(NotFollowed, match="within 0 s of work"):
        WAYS[way](net())


@pytest.mark.parametrize("way", WAYS)
def test_the_time_by_the_clock_is_limited_and_is_no_last_word(way, monkeypatch):
    monkeypatch.setattr(deadline, "CLOCK_LIMIT_S", 0.0)
    with pytest.raises(MachineTooBusy, match="within 0 s, of which this busy machine gave it"):
        WAYS[way](net())


class FakeClock:
    """Replaces the module ``time``; on a busy machine, time passes without work being done."""

    def __init__(self, *, busy):
        self.now_s, self.work_s, self._busy = 0.0, 0.0, busy

    def thread_time(self):
        return self.work_s

    def monotonic(self):
        return self.now_s

    def spend(self, seconds):
        self.now_s += seconds
        self.work_s += 0.0 if self._busy else seconds

    def slow(self, function, seconds, only=lambda *_: True):
        def call(*args, **kwargs):
            self.spend(seconds if only(*args) else 0.0)
            return function(*args, **kwargs)

        return call


def is_removing(*args):
    return len(args[4]) < args[2].weight.shape[0]


@pytest.fixture(params=["a slow network", "a busy machine"])
def clock(request, monkeypatch):
    found = FakeClock(busy=request.param == "a busy machine")
    found.error = MachineTooBusy if request.param == "a busy machine" else NotFollowed
    monkeypatch.setattr(deadline, "time", found)
    return found


def never_ends(clock):
    def endless(*_args, **_kwargs):
        while True:
            clock.spend(0.001)

    return endless


@pytest.mark.parametrize("where", ["tracing", "following", "choosing", "removing"])
def test_a_slow_graph_is_left_within_a_minute_wherever_it_is_slow(where, clock, monkeypatch):
    if where == "tracing":
        monkeypatch.setattr(DependencyGraph, "_trace", never_ends(clock))
    elif where == "following":
        monkeypatch.setattr(dependency_graph, "_group", clock.slow(dependency_graph._group, 7.0))
    elif where == "choosing":
        monkeypatch.setattr(structured, "macs_with", clock.slow(structured.macs_with, 7.0))
    else:
        monkeypatch.setattr(dependency_graph, "_group", clock.slow(dependency_graph._group, 7.0, only=is_removing))
    with pytest.raises(NotFollowed, match="by masks instead") as refused:
        prune(net())
    assert type(refused.value) is clock.error
    assert clock.now_s < 60


def test_one_limit_holds_for_the_whole_answer(clock, monkeypatch):
    """Following takes 26 s here and so does removing; each alone would be within the limit."""
    halves = set()

    def slow_once(*args):
        if (half := is_removing(*args)) not in halves:
            halves.add(half)
            clock.spend(26.0)
        return group(*args)

    group = dependency_graph._group
    monkeypatch.setattr(dependency_graph, "_group", slow_once)
    with pytest.raises(clock.error, match=r"within [45]0 s"):
        prune(net())
    assert halves == {False, True}


def test_what_is_done_within_the_limits_is_given(clock, monkeypatch):
    monkeypatch.setattr(dependency_graph, "_group", clock.slow(dependency_graph._group, 1.0))
    monkeypatch.setattr(structured, "score_layers", clock.slow(structured.score_layers, 600.0))
    prune(net())
    assert 610 < clock.now_s < 640, "criteria with gradients take as long as they take"


@pytest.mark.parametrize("where", ["main", "thread"])
def test_code_that_never_ends_is_left_in_any_thread(where):
    caught = []

    def work():
        try:
            with Deadline(0.2).watching():
                endless_calls()
        except NotFollowed as error:
            caught.append(error)

    def self_made():
        pass

    def endless_calls():
        while True:
            self_made()

    if where == "main":
        work()
    else:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(60)
    assert len(caught) == 1


@pytest.mark.parametrize("error", [NotFollowed("a"), UnreachableTarget("b"), NotFinite("c"), ModuleNotFoundError("d")])
def test_refusals_with_words_of_their_own_pass(error):
    with pytest.raises(type(error), match=str(error)), following():
        raise error


REFUSED = {
    "experts mixed for each image": ("tf_efficientnet_cc_b0_4e", (3, 64, 64)),
    "a split that it numbers wrongly": ("cspdarknet53", (3, 64, 64)),
    "tokens mixed": ("mixer_s32_224", (3, 224, 224)),
    "gates that multiply": ("ecaresnet26t", (3, 64, 64)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_networks_that_never_ended_or_raised_are_refused_or_work(kind):
    name, shape = REFUSED[kind]
    model = net(name)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    try:
        result = prune(model, shape=shape)
        assert count_macs(result.model, shape).macs == result.macs
    except NotFollowed as refusal:
        assert "Torch-Pruning" in str(refusal)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


class Branches(nn.Module):
    """Two branches that are concatenated; the channels of each stay in its own part."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Conv2d(8, 10, 3)
        self.join, self.fc = nn.Conv2d(16, 12, 1), nn.Linear(12, 4)

    def forward(self, x):
        x = self.stem(x)
        return self.fc(self.join(torch.cat([self.left(x), self.right(x)], 1)).mean((2, 3)))


def test_joined_branches_lose_their_own_channels():
    torch.manual_seed(0)
    model = Branches().eval()
    result = prune(model, 0.5)
    image = torch.randn(2, *SHAPE)
    assert result.model(image).shape == (2, 4)
    widths = {name: new for name, (_, new) in result.widths.items()}
    assert (result.model.left.out_channels, result.model.right.out_channels) == (widths["left"], widths["right"])
    assert result.model.join.in_channels == widths["left"] + widths["right"]


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "ghostnet_050", "lcnet_035"])
def test_the_groups_are_those_of_torch_pruning(name):
    """The groups are found differently, but have the same members and indices in the same order."""
    tp = pytest.importorskip("torch_pruning")
    model = net(name)
    image = torch.zeros(1, 3, 64, 64)
    ours = dependency_graph.build_graph(model, image, [], Deadline())
    theirs = tp.DependencyGraph().build_dependency(model, image, verbose=False)
    found = [(g, ours) for g in _first(ours.get_all_groups(root_module_types=[nn.Conv2d]), 6)]
    expected = [(g, theirs) for g in _first(theirs.get_all_groups(root_module_types=[nn.Conv2d]), 6)]
    assert len(found) == len(expected) > 0
    for (group, graph), (other, other_graph) in zip(found, expected, strict=True):
        assert _described(group, graph) == _described(other, other_graph)


def _first(items, num):
    return [item for _, item in zip(range(num), items, strict=False)]


def _described(group, graph):
    return [
        (graph._module2name.get(item.dep.target.module, "op"), item.dep.handler.__name__, item.idxs, item.root_idxs)
        for item in group
    ]
