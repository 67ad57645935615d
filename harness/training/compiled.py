"""A network whose forward pass is compiled by ``torch.compile`` while it is trained; its backward pass comes with it.

Only ``forward`` is compiled, and only while a training pass runs: hooks, weights, state dict, EMA, masks, evaluation and
everything else that knows the network see it as it was. Shapes are fixed, so each size of batch is compiled by itself.

What a job compiles it forgets when its training ends, and it uses nothing that another job left on this machine: torch's
caches are in a temporary folder. Otherwise what a job costs would depend on what the machine had compiled before. A
process that trains one network after another would also reach torch's limit of compilations of a function, from where it
silently runs without.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from harness.errors import typed_line
from harness.training.compile_folders import own_folder

BACKEND = "inductor"
"""Torch's own compiler: C++ for a CPU, Triton for a GPU."""


class CannotCompile(RuntimeError):
    """torch cannot compile the network here; the message is one line. A retry would end in the same way."""


class Compiles(Protocol):
    """What makes the forward passes of a training."""

    def passes(self) -> AbstractContextManager[object]:
        """While the block runs, the network's forward passes are compiled; raises :class:`CannotCompile`."""
        ...


class Eager:
    """Forward passes without compilation."""

    def passes(self) -> AbstractContextManager[object]:
        """Nothing changes."""
        return nullcontext()


class Compiled:
    """Compiled forward passes of one network, made by :func:`compiling`.

    Each shape of images is compiled when it is first seen, until :meth:`settle`; later ones are computed eagerly, such as
    a batch of which an image could not be read.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._plain: Callable[[Tensor], object] = model.forward
        self._compiled: Callable[[Tensor], object] = torch.compile(model.forward, dynamic=False, backend=BACKEND)
        self._shapes: set[torch.Size] = set()
        self._is_settled = False

    def settle(self) -> None:
        """Compile nothing more from now on."""
        self._is_settled = True

    @contextmanager
    def passes(self) -> Iterator[None]:
        """See :class:`Compiles`. Backward passes may follow after the block."""
        own = vars(self._model).get("forward")
        self._model.forward = self._forward
        try:
            yield
        finally:
            if own is None:
                del self._model.forward
            else:
                self._model.forward = own

    def _forward(self, images: Tensor) -> object:
        if self._is_settled and images.shape not in self._shapes:
            return self._plain(images)
        self._shapes.add(images.shape)
        return self._compiled(_with_usual_strides(images))


def _with_usual_strides(images: Tensor) -> Tensor:
    """The same images; dimensions of size 1 have the strides of channels-last, so that nothing is compiled for others."""
    if images.dim() != 4 or not images.is_contiguous(memory_format=torch.channels_last):
        return images
    _, channels, height, width = images.shape
    return images.as_strided(images.shape, (channels * height * width, 1, channels * width, channels))


@contextmanager
def compiling(model: nn.Module, wanted: bool) -> Iterator[Compiles]:
    """While the block runs, the model's passes can be compiled, with as many threads as torch has; see the module's text.

    Raises:
        CannotCompile: torch could not compile it.

    """
    if not wanted:
        yield Eager()
        return
    from torch._dynamo import config as dynamo  # here, since most trainings do without this second of work
    from torch._inductor import config as inductor

    threads = max(1, torch.get_num_threads())
    with (
        _quietly(),
        _one_line(),
        _own_caches(),
        inductor.patch(compile_threads=threads),
        dynamo.patch(fail_on_recompile_limit_hit=True),
    ):
        yield Compiled(model)


@contextmanager
def _own_caches() -> Iterator[None]:
    """While the block runs, torch's caches are in a folder of their own; nothing of them, and no process, is left.

    What a killed process leaves, the next one removes.
    """
    from torch._inductor.async_compile import shutdown_compile_workers
    from torch._inductor.utils import fresh_cache

    with own_folder() as folder, ExitStack() as stack:
        caches = fresh_cache(dir=folder, delete=False)
        caches.__enter__()
        stack.callback(caches.__exit__, None, None, None)  # it keeps the folder, with a warning, if it sees an error
        torch.compiler.reset()
        stack.callback(torch.compiler.reset)
        stack.callback(shutdown_compile_workers)
        yield


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out torch's warning that there is no GPU, which it gives wherever a CUDA toolkit is installed."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn what torch raises when it cannot compile into one line; a lack of memory or disk is raised as it was."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    try:
        yield
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        cause = getattr(error, "inner_exception", None) or error
        if isinstance(cause, MemoryError | torch.OutOfMemoryError | OSError):
            raise cause from error
        raise CannotCompile(f"torch.compile fails ({typed_line(cause)}); set compile to false") from error
