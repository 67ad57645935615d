"""How long one forward pass of a whole network takes, by runtime.

| runtime | what it is |
|---|---|
| ``eager`` | plain PyTorch |
| ``channels_last`` | eager, with weights and images in channels-last order |
| ``compiled`` | ``torch.compile`` as one graph; needs a C++ compiler on the CPU, Triton on CUDA |
| ``onnxruntime`` | exported to ONNX and run by ONNX Runtime (extra ``onnx``) on the CPU |

Preparing a network (compiling, exporting) is not timed. Images are drawn from a normal distribution and are on the
device beforehand; outputs stay there. Every runtime's output is compared with eager's before it is timed.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from accounting.words.extras import install_extra
from harness.errors import typed_line
from harness.latency.errors import NotAvailable, WrongOutput
from harness.latency.timer import Stopwatch, Timing, pinned_threads, time_calls

ALLOWED_ERROR = {torch.float32: 1e-3, torch.float64: 1e-6, torch.float16: 2e-2, torch.bfloat16: 5e-2}
"""Largest allowed difference from eager, as a share of eager's largest output."""


@torch.inference_mode()
def time_network(
    model: nn.Module,
    input_size: tuple[int, int, int],
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 1,
    threads: int = 1,
    runtime: str = "eager",
    warmup: int = 5,
    repetitions: int = 30,
    seed: int = 0,
    stopwatch: Stopwatch | None = None,
) -> Timing:
    """Time forward passes of a copy of the model in evaluation mode; the model is not changed.

    Args:
        model: returns one tensor for a batch of images.
        input_size: channels, height and width of an image.
        device: the device to run on, such as ``cpu`` or ``cuda``.
        batch_size: images per pass.
        threads: CPU threads within an operation.
        runtime: a name in :data:`RUNTIMES`.
        warmup: number of passes before the timed ones.
        repetitions: number of timed passes.
        seed: random seed of the images.
        stopwatch: replaces the device's own.

    Raises:
        NotAvailable: this machine cannot run the model in this way; the message says why.
        WrongOutput: the runtime's output differs from eager's.
        ValueError: the runtime is unknown, or :func:`harness.latency.timer.time_calls` refuses a number.

    """
    if runtime not in RUNTIMES:
        raise ValueError(f"unknown runtime {runtime!r}; allowed: {', '.join(RUNTIMES)}")
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NotAvailable("there is no CUDA device here")
    own = copy.deepcopy(model).to(device).eval()
    dtype = next((p.dtype for p in own.parameters() if p.is_floating_point()), torch.get_default_dtype())
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch_size, *input_size, generator=generator).to(device=device, dtype=dtype)
    with pinned_threads(threads):
        expected = own(images).clone()
        call = RUNTIMES[runtime](own, images)
        _check(call(), expected, runtime)
        return time_calls(
            call, device=device, batch_size=batch_size, threads=threads, runtime=runtime, warmup=warmup,
            repetitions=repetitions, stopwatch=stopwatch,
        )  # fmt: skip


def _eager(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    return lambda: model(images)


def _channels_last(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    model = model.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    return lambda: model(images)


def _compiled(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    # Networks of one class share their code: without a reset, a later one would reach the limit on recompilations.
    torch.compiler.reset()
    try:
        compiled = torch.compile(model, fullgraph=True)
        compiled(images)
    except Exception as error:  # errors of the compiler, its backends and the C++ compiler have no common kind
        raise NotAvailable(f"torch.compile cannot compile it here: {typed_line(error, 200)}") from error
    return lambda: compiled(images)


def _onnxruntime(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    if images.device.type != "cpu":
        raise NotAvailable("ONNX Runtime is timed on the CPU only")
    runtime = onnx_runtime()
    try:
        with torch.inference_mode(False), torch.no_grad():
            program = torch.onnx.export(model, (images.clone(),), dynamo=True, verbose=False)
    except Exception as error:  # the tracer and the exporter may fail in any way
        raise NotAvailable(f"cannot export it to ONNX: {typed_line(error, 200)}") from error
    if program is None:
        raise NotAvailable("cannot export it to ONNX: torch gave no program")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    serialised = program.model_proto.SerializeToString()
    session = runtime.InferenceSession(serialised, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images.numpy()}
    return lambda: torch.from_numpy(session.run(None, feed)[0])


RUNTIMES: dict[str, Callable[[nn.Module, Tensor], Callable[[], Tensor]]] = {
    "eager": _eager,
    "channels_last": _channels_last,
    "compiled": _compiled,
    "onnxruntime": _onnxruntime,
}
"""By runtime, the function from model and images to the call that is timed, which uses PyTorch's current threads."""


def onnx_runtime() -> Any:
    """The module ``onnxruntime``, imported on demand.

    Raises:
        NotAvailable: it, or a package that exports to ONNX, is not installed; the message names the extra.

    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            raise NotAvailable(f"runtime onnxruntime needs {name}: {install_extra('onnx')}") from None
    return module


def _check(output: Tensor, expected: Tensor, runtime: str) -> None:
    if output.shape != expected.shape:
        raise WrongOutput(f"{runtime} gives the shape {tuple(output.shape)}, eager {tuple(expected.shape)}")
    error, largest = float((output - expected).abs().max()), float(expected.abs().max())
    if not error <= ALLOWED_ERROR[expected.dtype] * largest:
        raise WrongOutput(f"{runtime} differs from eager by up to {error:.3g}, outputs are up to {largest:.3g}")
