"""A pool is drawn once per space, limit, size and seed, however many strategies ask for it."""

import pytest
from elastic_space import declared
from subnet_parts import many_blocks

from nas_baseline.proposing.pool import constrained_pool
from nas_baseline.spaces import load_space
from nas_baseline.spaces.base import DiscreteSpace
from nas_baseline.spaces.declared import StageSpace
from nas_baseline.spaces.subnets import SubnetSpace, WidthRule

LIMIT = {"stages": 500_000, "subnets": 3_000_000}


def space_of(kind):
    """A new space of this kind at each call."""
    return load_space("fbnetv3_mini") if kind == "stages" else SubnetSpace("many", many_blocks(12))


@pytest.fixture
def counted(monkeypatch):
    """The sizes of the batches whose MACs were counted, one entry per count."""
    calls = []

    def counting(plain):
        return lambda self, archs: calls.append(len(archs)) or plain(self, archs)

    for kind in (StageSpace, SubnetSpace):
        monkeypatch.setattr(kind, "macs_batch", counting(kind.macs_batch))
    return calls


@pytest.mark.parametrize("kind", LIMIT)
def test_the_same_question_of_an_equal_space_is_not_worked_out_again(kind, counted):
    seed = 90_001
    first = constrained_pool(space_of(kind), LIMIT[kind], 200, seed)
    drawn = len(counted)
    assert drawn > 0
    assert constrained_pool(space_of(kind), LIMIT[kind], 200, seed) == first
    assert len(counted) == drawn
    for other in ((LIMIT[kind] - 1, 200, seed), (LIMIT[kind], 150, seed), (LIMIT[kind], 200, seed + 1)):
        before = len(counted)
        constrained_pool(space_of(kind), *other)
        assert len(counted) > before


def test_whoever_changes_the_pool_that_he_got_changes_nobody_elses():
    first = constrained_pool(space_of("stages"), LIMIT["stages"], 100, 90_002)
    kept = list(first)
    first.clear()
    assert constrained_pool(space_of("stages"), LIMIT["stages"], 100, 90_002) == kept


def test_a_space_is_equal_to_one_that_was_declared_alike_and_to_no_other():
    assert declared() == declared()
    assert hash(declared()) == hash(declared())
    assert declared() != declared(image_size=32)
    recipe = {"optimizer": ["sgd"], "lr": [0.1, 0.2], "dropout": [0, 0.5]}
    turned = {"optimizer": ["sgd"], "dropout": [0, 0.5], "lr": [0.1, 0.2]}
    assert declared(recipe=recipe) != declared(recipe=turned)  # the order of the keys is the order of the dimensions
    assert declared() != SubnetSpace("small", many_blocks())


def test_spaces_of_parts_are_equal_where_parts_and_rule_are():
    assert SubnetSpace("many", many_blocks(), WidthRule(4)) == SubnetSpace("many", many_blocks(), WidthRule(4))
    assert SubnetSpace("many", many_blocks(), WidthRule(4)) != SubnetSpace("many", many_blocks(), WidthRule(8))
    assert SubnetSpace("many", many_blocks(3)) != SubnetSpace("many", many_blocks(4))
    assert SubnetSpace("many", many_blocks(), kinds=("se",)) != SubnetSpace("many", many_blocks())


def test_a_space_of_another_kind_is_asked_each_time():
    """Such a space might change between two calls, so its pool is never reused."""

    class Looped:
        """A space with only the five methods, whose MACs the test can change."""

        name, each, num_choices = "looped", 1000, [2, 2]

        def sample(self, rng):
            return tuple(int(n) for n in rng.integers(0, 2, size=2))

        def mutate(self, arch, rng):
            return (1 - arch[0], arch[1])

        def crossover(self, a, b, rng):
            return a

        def encode(self, arch):
            return list(arch)

        def macs(self, arch):
            return self.each * sum(arch)

    from nas_baseline.spaces.looped import batched

    space = Looped()
    assert not isinstance(batched(space), DiscreteSpace)
    assert len(constrained_pool(batched(space), 1000, 10, 0)) == 3
    space.each = 2000
    assert constrained_pool(batched(space), 1000, 10, 0) == [(0, 0)]
