"""The geometry of weight sharing: which part of a largest network's tensors belongs to a smaller member of its space.

Width, expansion, squeeze-excite width, stem and head: the first channels (slimmable networks, arXiv 1812.08928 and
1903.05134). Depth: the first blocks of a stage. Kernel: the centre of the largest one (Once-for-All, arXiv 1908.09791,
section 3.3, without its transformation matrices, as in BigNAS, arXiv 2003.11142).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, product

from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import efficientnet_init_weights
from torch import Tensor, nn

from accounting.ledger.specs import NetworkSpec
from nas_baseline.spaces.counting import WIDTH_ROUND_LIMIT, expanded_width, parse_block, round_width, se_width
from nas_baseline.spaces.declared import StageSpace


@dataclass(frozen=True)
class Extent:
    """How much of one layer's tensors is used: output and input channels, side of the kernel; None: all of it."""

    out: int | None = None
    into: int | None = None
    kernel: int | None = None


@dataclass(frozen=True)
class BlockSize:
    """Channels and kernel of one block; ``squeeze`` is the width of its squeeze-excite, 0: it has none."""

    kind: str
    into: int
    inner: int
    out: int
    kernel: int
    squeeze: int


@dataclass(frozen=True)
class Member:
    """The sizes of one network of a space; equal for members that are the same network, whatever their recipe."""

    stem: int
    stages: tuple[tuple[BlockSize, ...], ...]
    final: int
    features: int


def measure(spec: NetworkSpec) -> Member:
    """The sizes that ``networks.build`` gives the network of a ``StageSpace``'s spec."""
    divisor = int(spec.get("width_divisor", 8))
    stem = width = _rounded(spec["stem_size"], divisor)
    *stages, last = spec["arch_def"]
    sizes = []
    for blocks in stages:
        stage = []
        for block in map(parse_block, blocks):
            out, expansion = _rounded(block.width, divisor), 1.0 if block.kind == "ds" else block.expansion
            for _ in range(block.repeat):
                inner = width if block.kind == "ds" else int(expanded_width(width, expansion))
                squeeze = int(se_width(inner, block.se, expansion)) if block.se else 0
                stage.append(BlockSize(block.kind, width, inner, out, block.kernel, squeeze))
                width = out
        sizes.append(tuple(stage))
    return Member(stem, tuple(sizes), _rounded(parse_block(last[0]).width, divisor), int(spec["num_features"]))


def extents(member: Member) -> dict[str, Extent]:
    """For each layer of a member, by its name in the built network, what it uses of the largest network's."""
    last = f"blocks.{len(member.stages)}.0"
    found = {
        "conv_stem": Extent(member.stem),
        "bn1": Extent(member.stem),
        f"{last}.conv": Extent(member.final, member.stages[-1][-1].out),
        f"{last}.bn1": Extent(member.final),
        "conv_head": Extent(member.features, member.final),
        "classifier": Extent(None, member.features),
    }
    for i, stage in enumerate(member.stages):
        for j, block in enumerate(stage):
            found |= {f"blocks.{i}.{j}.{layer}": extent for layer, extent in _block_extents(block).items()}
    return found


def share(tensors: Iterable[tuple[str, Tensor]], used: Mapping[str, Extent]) -> dict[str, Tensor]:
    """A member's parts (views) of the named parameters or buffers of the largest network."""
    return {
        name: _part(tensor, used[layer])
        for name, tensor in tensors
        if (layer := name.rpartition(".")[0]) in used
    }  # fmt: skip


def make_elastic(network: nn.Module, space: StageSpace) -> None:
    """Give the built largest network of a space elastic depth and squeeze-excite, in place; names stay as they were.

    A squeeze-excite is made as wide as the widest of any member, which need not be the largest's: its width is a share
    of the expanded channels, and those are rounded.
    """
    blocks = network.blocks
    assert isinstance(blocks, nn.Sequential)
    for i in range(len(space.data["stages"])):
        stage = ElasticStage(blocks[i].children())
        for j, block in enumerate(stage):
            if isinstance(block.se, SqueezeExcite):
                block.se = ElasticSqueezeExcite(block.se, _widest_squeeze(space, i, first=j == 0))
        blocks[i] = stage


def configure(network: nn.Module, member: Member) -> None:
    """Set an elastic network to the depths, paddings, groups, squeeze-excites and shortcuts of a member."""
    blocks = network.blocks
    assert isinstance(blocks, nn.Sequential)
    for i, sizes in enumerate(member.stages):
        stage = blocks[i]
        assert isinstance(stage, ElasticStage)
        stage.depth = len(sizes)
        for block, size in zip(stage, sizes, strict=False):
            depthwise, squeeze = block.conv_dw, block.se
            assert isinstance(depthwise, nn.Conv2d)
            padding = depthwise.dilation[0] * (size.kernel - 1) // 2
            depthwise.padding, depthwise.groups = (padding, padding), size.inner
            # As timm decides it for each network.
            block.has_skip = depthwise.stride[0] == 1 and size.into == size.out  # type: ignore[assignment]
            if isinstance(squeeze, ElasticSqueezeExcite):
                squeeze.active = size.squeeze > 0


class ElasticStage(nn.Sequential):
    """The blocks of a stage, of which the first ``depth`` are run."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__(*blocks)
        self.depth = len(self)

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last block that is run, shape [n, channels, height, width]."""
        for block in islice(self, self.depth):
            x = block(x)
        return x


class ElasticSqueezeExcite(SqueezeExcite):
    """timm's squeeze-excite, possibly widened, that can be switched off."""

    def __init__(self, built: SqueezeExcite, width: int) -> None:
        nn.Module.__init__(self)
        self.active = True
        self.conv_reduce, self.conv_expand = built.conv_reduce, built.conv_expand
        self.act1, self.gate = built.act1, built.gate
        if width > built.conv_reduce.out_channels:
            self.conv_reduce = nn.Conv2d(built.conv_reduce.in_channels, width, 1)
            self.conv_expand = nn.Conv2d(width, built.conv_expand.out_channels, 1)
            efficientnet_init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with its channels weighted, or as it is where switched off."""
        if not self.active:
            return x
        weighted: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return weighted


def _block_extents(b: BlockSize) -> dict[str, Extent]:
    depthwise, inner, out = Extent(b.inner, None, b.kernel), Extent(b.inner), Extent(b.out)
    project = Extent(b.out, b.inner)
    if b.kind == "ds":
        found = {"conv_dw": depthwise, "bn1": inner, "conv_pw": project, "bn2": out}
    else:
        found = {
            "conv_pw": Extent(b.inner, b.into), "bn1": inner, "conv_dw": depthwise, "bn2": inner, "conv_pwl": project,
            "bn3": out,
        }  # fmt: skip
    if b.squeeze:
        found |= {"se.conv_reduce": Extent(b.squeeze, b.inner), "se.conv_expand": Extent(b.inner, b.squeeze)}
    return found


def _part(full: Tensor, extent: Extent) -> Tensor:
    """The first channels and the centre of the kernel; ``full`` itself where that is all of it."""
    kernel = slice(None)
    if extent.kernel is not None and full.dim() == 4:
        margin = (full.shape[2] - extent.kernel) // 2
        kernel = slice(margin, margin + extent.kernel)
    index = (slice(extent.out), slice(extent.into), kernel, kernel)[: full.dim()]
    part = full[index]
    return full if part.shape == full.shape else part


def _widest_squeeze(space: StageSpace, i: int, first: bool) -> int:
    """The largest squeeze-excite width that a block of stage ``i`` has in any member."""
    choices = {d.name: d.numbers for d in space.dimensions}
    before = ("stem.width" if i == 0 else f"{i - 1}.width") if first else f"{i}.width"
    expansions = choices[f"{i}.expansion"]
    if not first:
        expansions = choices.get(f"{i}.expansion_rest", expansions)
    widest = 0
    for width, expansion, ratio in product(choices[before], expansions, choices[f"{i}.se"]):
        # As the block string of the spec has them.
        expansion, ratio = float(f"{expansion:g}"), float(f"{ratio:g}")
        inner = _rounded(int(width), space.divisor)
        if space.data["stages"][i]["type"] == "ir":
            inner = int(expanded_width(inner, expansion))
        widest = max(widest, int(se_width(inner, ratio, expansion)) if ratio else 0)
    return widest


def _rounded(width: int, divisor: int) -> int:
    return int(round_width(width, divisor, WIDTH_ROUND_LIMIT))
