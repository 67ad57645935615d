"""Search spaces: declared as data, with helpful errors, moves that stay inside, encodings that tell members apart."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_baseline.spaces import list_spaces, load_space
from nas_baseline.spaces.base import Dimension, DiscreteSpace
from nas_baseline.spaces.declared import StageSpace
from nas_baseline.spaces.looped import batched

SPACES = {name: load_space(name) for name in list_spaces()}


def declared(**changes):
    return {
        "name": "plain", "image_size": [16, 24], "in_chans": 3, "num_classes": 5, "stem": {"width": 8},
        "stages": [
            {"type": "ds", "stride": 1, "kernel": 3, "depth": 1, "width": 8},
            {"type": "ir", "stride": 2, "kernel": [3, 5], "kernel_rest": [3, 5], "expansion": [2, 4],
             "depth": {"min": 1, "max": 3, "step": 1}, "width": [16, 24], "se": [0, 0.25]},
        ],
        "head": {"expansion": 2, "features": 16},
    } | changes  # fmt: skip


def stage(**changes):
    stages = declared()["stages"]
    return declared(stages=[stages[0], {k: v for k, v in (stages[1] | changes).items() if v is not None}])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32 - 1))
def test_moves_stay_in_the_space_and_are_canonical(name, seed):
    space, rng = SPACES[name], np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    mutated, child = space.mutate(a, rng), space.crossover(a, b, rng)
    for arch in (a, b, mutated, child):
        assert space.canonical(arch) == arch
        assert all(0 <= v < n for v, n in zip(arch, space.num_choices, strict=True))
        assert space.min_macs() <= space.macs(arch) <= space.max_macs()
    assert mutated != a
    # A child has only values of its parents, except those that the canonical form sets to 0.
    assert all(c in (x, y, 0) for c, x, y in zip(child, a, b, strict=True))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SPACES)), st.integers(0, 2**32 - 1))
def test_canonical_members_are_the_same_network_and_the_two_ways_agree(name, seed):
    space = SPACES[name]
    rows = np.random.default_rng(seed).integers(0, space.num_choices, size=(20, len(space.dimensions)))
    fast = [space.canonical(tuple(r)) for r in rows.tolist()]
    assert fast == [tuple(r) for r in space.canonical_indices(rows).tolist()]
    for row, arch in zip(rows.tolist(), fast, strict=True):
        assert space.network_spec(tuple(row)) == space.network_spec(arch)
        assert space.recipe(tuple(row)) == space.recipe(arch)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_encodings_differ_where_members_do(name):
    space = SPACES[name]
    archs = list(dict.fromkeys(space.sample_batch(np.random.default_rng(0), 300)))
    encoded = space.encode_batch(archs)
    assert len({row.tobytes() for row in encoded}) == len(archs)
    assert encoded.min() >= 0
    assert encoded.max() <= 1
    assert np.array_equal(space.encode(archs[3]), encoded[3])
    assert len(space.recipe_mask) == encoded.shape[1]


def test_encoding_by_hand():
    ordered = Dimension("w", (1, 10, 100), ordered=True, log=True)
    space = DiscreteSpace("s", [ordered, Dimension("op", ("a", "b")), Dimension("fixed", (7,))])
    assert space.encode((1, 0, 0)) == pytest.approx([0.5, np.sqrt(0.5), 0.0])
    # Different categories, and the two ends of a scale, are at squared distance 1.
    assert ((space.encode((0, 0, 0)) - space.encode((0, 1, 0))) ** 2).sum() == pytest.approx(1.0)
    assert ((space.encode((0, 0, 0)) - space.encode((2, 0, 0))) ** 2).sum() == pytest.approx(1.0)
    assert space.size == 6
    assert space.neighbours((0, 0, 0)) == [(1, 0, 0), (2, 0, 0), (0, 1, 0)]


def test_smallest_and_largest_are_exact_on_an_enumerable_space():
    space = StageSpace(declared())
    everything = [tuple(a) for a in np.ndindex(*space.num_choices)]
    macs = space.macs_batch(everything)
    assert (space.min_macs(), space.max_macs()) == (macs.min(), macs.max())
    looped = batched(Plain(space))
    assert (looped.min_macs(), looped.max_macs()) == (macs.min(), macs.max())
    assert looped.params(everything[0]) == 0
    assert looped.name == "Plain"
    assert looped.dimensions_of == 3


class Plain:
    """A space with only the five methods of the protocol and no name."""

    dimensions_of = 3

    def __init__(self, space):
        self.sample, self.mutate, self.crossover = space.sample, space.mutate, space.crossover
        self.encode, self.macs = space.encode, space.macs


def test_recipe_of_the_mini_space():
    space = SPACES["fbnetv3_mini"]
    choices = {d.name: d.choices for d in space.dimensions}
    lr, dropout = choices["recipe.lr"][1], choices["recipe.dropout"][-1]
    base = space.find({"recipe.optimizer": "sgd", "recipe.lr": lr, "recipe.dropout": dropout})
    assert space.recipe(base)["lr"] == lr
    # RMSprop's learning rate is that of SGD times the factor that the space declares.
    factor = space.data["recipe"]["optimizer"]["rmsprop"]
    rmsprop = space.find({"recipe.optimizer": "rmsprop", "recipe.lr": lr})
    assert space.recipe(rmsprop)["lr"] == pytest.approx(lr * factor) != lr
    assert set(space.recipe(base)) == {
        "lr", "optimizer", "weight_decay", "ema_decay", "dropout", "drop_path", "mixup_alpha", "label_smoothing",
    }  # fmt: skip
    assert space.network_spec(base)["drop_rate"] == dropout > 0
    assert space.describe(base)["recipe.dropout"] == dropout
    assert SPACES["mobilenetv3_lite"].recipe(SPACES["mobilenetv3_lite"].sample(np.random.default_rng(0))) == {}
    with pytest.raises(ValueError, match="no such choice"):
        space.find({"recipe.lr": 5})


def test_a_user_writes_a_space(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(declared()))
    space = load_space(str(path), in_chans=1, num_classes=2)
    spec = space.network_spec(space.sample(np.random.default_rng(0)))
    assert (spec["in_chans"], spec["num_classes"]) == (1, 2)
    for text, message in (("a: [", "is not YAML"), ("- 1", "must be a mapping")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_space(str(path))
    with pytest.raises(ValueError, match="does not exist"):
        load_space(str(tmp_path / "none.yaml"))
    with pytest.raises(ValueError, match=r"'fbnet' is not known; allowed: fbnetv3, fbnetv3_mini"):
        load_space("fbnet")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (declared(stagse=[]), "did you mean 'stages'"),
        ({k: v for k, v in declared().items() if k != "stem"}, "lacks 'stem'"),
        (stage(kernal=3), "stage 1: 'kernal' is not known; did you mean 'kernel'"),
        (stage(width=None), "stage 1 lacks 'width'"),
        (stage(type="er"), "type 'er' is not known; allowed: ds, ir"),
        (stage(stride=3), "stride 3 is not possible"),
        (stage(kernel=[3, 4]), "kernels must be odd"),
        (stage(depth=[0, 1]), "depth must be at least 1"),
        (stage(width=[24, 16]), "choices must rise"),
        (stage(width="wide"), "choices must be numbers"),
        (stage(width={"min": 8, "max": 4, "step": 1}), "a range is"),
        (stage(type="ds"), "ds blocks have no expansion"),
        (declared(stem=8), "stem is 8; a mapping with width"),
        (declared(stem={"widht": 8}), "stem: 'widht' is not known; did you mean 'width'"),
        (declared(stem={"width": 0}), "stem.width must be at least 1"),
        (declared(head={"features": 16}), "head lacks 'expansion'"),
        (declared(head={"expansion": [2, 3], "features": 16}), "head.expansion is .* one number above 0"),
        (declared(head={"expansion": 2, "features": 0}), "head.features must be at least 1"),
        (declared(image_size=[16, 32.5]), "image_size: choices must be whole numbers"),
        (declared(width_divisor=0), "width_divisor is 0; a whole number"),
        (declared(act="foo"), "act is 'foo'; allowed: relu"),
        (declared(stages={}), "a list of at least one stage"),
        (declared(stages=["ir"]), "stage 0 is 'ir'; a mapping"),
        (stage(depth=2.5), "depth: choices must be whole numbers"),
        (stage(width=[8.5, 16]), "width: choices must be whole numbers"),
        (stage(se=-0.25), "ratios must be from 0 to 1"),
        (stage(width={"min": "a", "max": 4, "step": 1}), "a range is"),
        (stage(type="ds", expansion=1, expansion_rest=[1, 2]), "ds blocks have no expansion"),
        (declared(recipe={"optimizer": {"sgd": 0}, "lr": 0.1}), "a factor above 0"),
        (declared(recipe={"lr": [0.1]}), "needs at least 'optimizer' and 'lr'"),
        (declared(recipe={"learning": 1}), "the recipe: 'learning' is not known"),
    ],
)
def test_what_is_wrong_in_a_space_is_said(data, message):
    with pytest.raises(ValueError, match=message):
        StageSpace(data)


def test_ranges_of_fractions_have_no_dust():
    space = StageSpace(declared(recipe={"optimizer": ["sgd"], "lr": {"min": 0.1, "max": 0.7, "step": 0.1}}))
    assert space.dimensions[-1].choices == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


def test_useless_dimensions_and_archs_are_refused():
    with pytest.raises(ValueError, match="single member"):
        DiscreteSpace("one", [Dimension("a", (1,))])
    with pytest.raises(ValueError, match="no choices"):
        Dimension("a", ())
    with pytest.raises(ValueError, match="positive"):
        Dimension("a", (0, 1), ordered=True, log=True)


def test_widths_that_round_to_the_same_are_one_network():
    space = StageSpace(stage(width={"min": 16, "max": 32, "step": 2}))  # timm rounds these to 16, 24 and 32
    specs = [space.network_spec(space.find({"1.width": w})) for w in (16, 18, 20, 24, 26, 32)]
    assert len({str(spec) for spec in specs}) == 3
    rng = np.random.default_rng(0)
    for _ in range(200):
        arch = space.mutate(space.sample(rng), rng)
        assert space.canonical(arch) == arch
        assert space.describe(arch)["1.width"] in (16, 18, 26)


def test_the_smallest_member_has_the_fewest_macs():
    for space in SPACES.values():
        assert space.macs(space.smallest()) == space.min_macs()
    looped = batched(Plain(SPACES["fbnetv3_mini"]))
    assert looped.macs(looped.smallest()) == looped.min_macs()


class Sums:
    """40 dimensions of 10 choices with only the five methods; a member has 40M MACs plus 1M for each step."""

    name = "sums"

    def sample(self, rng):
        return tuple(int(v) for v in rng.integers(10, size=40))

    def mutate(self, arch, rng):
        place = int(rng.integers(40))
        return (*arch[:place], int(rng.integers(10)), *arch[place + 1 :])

    def crossover(self, a, b, rng):
        return tuple(int(x if pick else y) for x, y, pick in zip(a, b, rng.random(40) < 0.5, strict=True))

    def encode(self, arch):
        return np.array(arch, dtype=float)

    def macs(self, arch):
        return 40_000_000 + 1_000_000 * sum(arch)


def test_the_smallest_of_many_dimensions_is_found_by_walking():
    assert batched(Sums()).min_macs() == 40_000_000
