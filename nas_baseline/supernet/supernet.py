"""One network that holds the weights of every member of a space, trained so that each can be scored at once.

Once-for-All (arXiv 1908.09791) and BigNAS (arXiv 2003.11142): elastic depth, width, kernel, expansion, squeeze-excite,
stem and head. A step trains by the sandwich rule and in-place distillation of universally slimmable networks (arXiv
1903.05134): the largest member on the labels, the smallest and some random ones on the largest's outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from accounting.ledger.specs import NetworkSpec
from nas_baseline.spaces.base import Arch
from nas_baseline.spaces.declared import StageSpace
from nas_baseline.spaces.networks import build
from nas_baseline.supernet.elastic import Member, configure, extents, make_elastic, measure, share

Loss = Callable[[Tensor, Tensor], Tensor]


class Supernet(nn.Module):
    """The largest network of a space; any member can be run, trained and extracted from it.

    Its state dict is that of the largest built network, under ``network.`` and initialised as timm does. The largest
    member is active at first and after every training step, so evaluating the supernet then evaluates that member. Drop
    rates and the rest of a recipe have no effect. Images are run at their given size, even if the space has several
    image sizes.

    Batch norm: only the largest member's training steps, and ``forward`` in training mode, change running statistics.
    Those of other members must be recalibrated (BigNAS, section 3.1), either in the network built with ``extract``'s
    weights, or here with the member active.
    """

    def __init__(self, space: StageSpace) -> None:
        super().__init__()
        self.space = space
        self.network = build(self._spec(self.largest()))
        make_elastic(self.network, space)
        self.activate(self.largest())

    def largest(self) -> Arch:
        """The member with the last choice of every dimension, but the first choice of recipe dimensions."""
        sizes = zip(self.space.dimensions, self.space.num_choices.tolist(), strict=True)
        return self.space.canonical(tuple(0 if d.name.startswith("recipe.") else n - 1 for d, n in sizes))

    def smallest(self) -> Arch:
        """The member with the first choice of every dimension."""
        return self.space.canonical((0,) * len(self.space.dimensions))

    def activate(self, arch: Arch) -> None:
        """Make ``forward`` run this member."""
        self._member = self._measure(arch)
        self._extents = extents(self._member)
        configure(self.network, self._member)

    def forward(self, images: Tensor) -> Tensor:
        """The active member's outputs, shape [n, num_classes], for images [n, in_chans, height, width]."""
        return self._run(images, keep_statistics=True)

    def sandwich(self, rng: np.random.Generator, num_random: int = 2) -> list[Arch]:
        """The members of one training step: the largest, the smallest, ``num_random`` random ones."""
        return [self.largest(), self.smallest(), *self.space.sample_batch(rng, num_random)]

    def losses(
        self, images: Tensor, targets: Tensor, loss_fn: Loss, imitation: Loss, archs: Sequence[Arch]
    ) -> Iterator[Tensor]:
        """Yield one scalar loss per member; call ``backward`` on it before asking for the next. Their sum is the mean.

        The first member must be the largest; its loss is ``loss_fn(outputs, targets)``. The loss of every other one is
        ``imitation(outputs, teacher)``, where ``teacher`` is the largest's detached outputs, so ``targets`` may have
        any form. A forward pass runs when its loss is asked for, so an autocast must enclose that request. Afterwards
        the largest member is active.
        Raises ValueError if the first member is not the largest.
        """
        if not archs or self._measure(archs[0]) != self._measure(self.largest()):
            raise ValueError("the first of the members must be the largest: the others learn from its outputs")
        return self._losses(images, targets, loss_fn, imitation, archs)

    def extract(self, arch: Arch) -> dict[str, Tensor]:
        """The state dict of a member's built network (``build(space.network_spec(arch))``), with inherited weights.

        The tensors are copies on the supernet's device.
        """
        used = extents(self._measure(arch))
        return {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in share(self.network.state_dict().items(), used).items()
        }

    def _losses(
        self, images: Tensor, targets: Tensor, loss_fn: Loss, imitation: Loss, archs: Sequence[Arch]
    ) -> Iterator[Tensor]:
        teacher: Tensor | None = None
        try:
            for arch in archs:
                self.activate(arch)
                outputs = self._run(images, keep_statistics=teacher is None)
                if teacher is None:
                    teacher = outputs.detach()
                    loss = loss_fn(outputs, targets)
                else:
                    loss = imitation(outputs, teacher)
                yield loss / len(archs)
                # Free what this member's forward pass holds before the next one runs.
                del outputs, loss
        finally:
            self.activate(self.largest())

    def _run(self, images: Tensor, keep_statistics: bool) -> Tensor:
        """Run the active member with views of the shared tensors; batch norm writes into views or into copies."""
        buffers = share(self.network.named_buffers(), self._extents)
        if not keep_statistics:
            buffers = {name: buffer.clone() for name, buffer in buffers.items()}
        tensors = share(self.network.named_parameters(), self._extents) | buffers
        outputs: Tensor = functional_call(self.network, tensors, (images,), tie_weights=False)
        return outputs

    def _measure(self, arch: Arch) -> Member:
        return measure(self.space.network_spec(arch))

    def _spec(self, arch: Arch) -> NetworkSpec:
        return {**self.space.network_spec(arch), "drop_rate": 0.0, "drop_path_rate": 0.0}


def without_recipe(space: StageSpace) -> StageSpace:
    """The same space without its recipe, since a score with inherited weights says nothing about how to train."""
    return StageSpace({key: value for key, value in space.data.items() if key != "recipe"})
