"""Parts of small networks, written by hand so that MACs can be worked out on paper."""

from accounting.ledger.parts import PartBlock, PartGroup, PartLayer, Parts, macs_of

LAYERS = (
    PartLayer("stem", 64, 1, 8, 3),
    PartLayer("block.expand", 64, 1, 16, 8),
    PartLayer("block.dw", 576, 9, 16, 1),
    PartLayer("block.se.reduce", 1, 1, 4, 16),
    PartLayer("block.se.expand", 1, 1, 16, 4),
    PartLayer("block.project", 64, 1, 8, 16),
    PartLayer("head", 1, 1, 5, 8),
)
GROUPS = (
    PartGroup("stem", 8, ((0, 1), (5, 1)), ((1, 1), (6, 1))),
    PartGroup("block.expand", 16, ((1, 1), (2, 1), (4, 1)), ((3, 1), (5, 1))),
    PartGroup("block.se.reduce", 4, ((3, 1),), ((4, 1),)),
)
BLOCKS = (PartBlock("block", "residual", (1, 2, 3, 4, 5)), PartBlock("block.se", "se", (3, 4)))


def one_block() -> Parts:
    """Stem 3 -> 8, a residual block 8 -> 16 -> 8 with squeeze-excite to 4, head 8 -> 5, on 8x8 pixels: 27,304 MACs."""
    parts = Parts(LAYERS, GROUPS, BLOCKS, 0, {})
    return Parts(LAYERS, GROUPS, BLOCKS, macs_of(parts, (8, 16, 4, 1, 1)), {})


def many_blocks(count: int = 6) -> Parts:
    """A stem of 32 channels, then ``count`` residual blocks of 32 -> 128 -> 32, on 8x8 pixels."""
    layers = [PartLayer("stem", 576, 9, 32, 3), PartLayer("head", 1, 1, 10, 32)]
    groups, outputs, inputs, blocks = [], [(0, 1)], [(1, 1)], []
    for i in range(count):
        at = len(layers)
        layers += [PartLayer(f"{i}.expand", 64, 1, 128, 32), PartLayer(f"{i}.project", 64, 1, 32, 128)]
        inputs.append((at, 1))
        outputs.append((at + 1, 1))
        groups.append(PartGroup(f"{i}.expand", 128, ((at, 1),), ((at + 1, 1),)))
        blocks.append(PartBlock(f"{i}", "residual", (at, at + 1)))
    groups = (PartGroup("stem", 32, tuple(outputs), tuple(inputs)), *groups)
    parts = Parts(tuple(layers), groups, tuple(blocks), 0, {})
    whole = (32, *[128] * count, *[1] * count)
    return Parts(parts.layers, groups, parts.blocks, macs_of(parts, whole), {})
