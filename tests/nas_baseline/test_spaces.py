"""Search spaces: declared as data, errors that help, moves that stay inside, encodings that tell members apart."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_baseline.batched import batched
from nas_baseline.space import Dimension, DiscreteSpace, from_json, to_json
from nas_baseline.spaces import list_spaces, load_space
from nas_baseline.stages import StageSpace

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
        assert from_json(to_json(arch)) == arch
    assert mutated != a
    # What neither parent has is not in the child, except what the canonical form sets to 0.
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
    # Different categories and the ends of a scale are both at squared distance 1.
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
    """The five methods of the protocol only, without a name."""

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
    # The learning rate of RMSprop is that of SGD times the factor that the space declares.
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
    for bad in ("12", [1, 2.5], [True]):
        with pytest.raises(ValueError, match="list of whole numbers"):
            from_json(bad)
