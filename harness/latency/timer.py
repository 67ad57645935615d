"""How long a call takes on a device: median and spread over repetitions after a warm-up, with a fixed thread count.

On the CPU, a wall clock is read before and after each call. On CUDA, each call is between two events on the current
stream, which the device itself timestamps: from the launch of the first kernel to the end of the last, including gaps
between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from harness.devices import cpu_name


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call.

    Attributes:
        median_ms: median over ``n`` calls.
        p10_ms: 10th percentile, interpolated linearly.
        p90_ms: 90th percentile.
        n: number of timed calls, without the warm-up.
        batch_size: images per call.
        threads: CPU threads within an operation (of the host if the device is a GPU).
        device: name of the processor or GPU.
        runtime: what ran the call, such as ``eager`` or the name of a format.

    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    n: int
    batch_size: int
    threads: int
    device: str
    runtime: str


class Stopwatch(Protocol):
    """Measures one call."""

    def measure_ms(self, call: Callable[[], object]) -> float:
        """Run the call once and return the milliseconds until its work is done."""
        ...


class WallClock:
    """Times calls that return when their work is done."""

    def __init__(self, now_s: Callable[[], float] = time.perf_counter):
        self._now_s = now_s

    def measure_ms(self, call: Callable[[], object]) -> float:
        """The wall-clock time of the call."""
        begin = self._now_s()
        call()
        return 1000 * (self._now_s() - begin)


class CudaEvents:
    """Times calls that only enqueue work on a CUDA device."""

    def __init__(self, device: torch.device):
        self._device = device

    def measure_ms(self, call: Callable[[], object]) -> float:
        """The device's time between an event before the call and one after it, on an idle stream."""
        with torch.cuda.device(self._device):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            begin.record()
            call()
            end.record()
            end.synchronize()
        return float(begin.elapsed_time(end))


def time_calls(
    call: Callable[[], object],
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 1,
    threads: int = 1,
    runtime: str = "eager",
    warmup: int = 5,
    repetitions: int = 30,
    stopwatch: Stopwatch | None = None,
) -> Timing:
    """Run the call ``warmup`` times, then time each of ``repetitions`` more calls.

    ``batch_size`` and ``runtime`` are only written into the result. ``stopwatch`` defaults to the device's.

    Raises:
        ValueError: there is no repetition or no thread, or ``warmup`` is negative.

    """
    if warmup < 0 or repetitions < 1 or threads < 1:
        raise ValueError(
            f"warmup is {warmup}, repetitions {repetitions}, threads {threads}; allowed: at least 0, 1 and 1"
        )
    stopwatch = stopwatch or stopwatch_for(device)
    with pinned_threads(threads):
        for _ in range(warmup):
            call()
        times_ms = [stopwatch.measure_ms(call) for _ in range(repetitions)]
    p10_ms, median_ms, p90_ms = (float(value) for value in np.percentile(times_ms, [10, 50, 90]))
    return Timing(median_ms, p10_ms, p90_ms, repetitions, batch_size, threads, device_name(device), runtime)


def stopwatch_for(device: str | torch.device) -> Stopwatch:
    """A wall clock for the CPU, events for CUDA."""
    device = torch.device(device)
    return CudaEvents(device) if device.type == "cuda" else WallClock()


def device_name(device: str | torch.device) -> str:
    """The processor's or GPU's model name."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


@contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Set the number of PyTorch's threads within an operation while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
