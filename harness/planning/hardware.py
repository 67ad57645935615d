"""Predicts how fast devices elsewhere train a network: a roofline model with the devices' published peaks.

Training a convolutional network on a GPU is bound by memory. The time per image is the longer of two: the time for
reading or writing each output of a convolution or linear layer 40 times at the card's bandwidth, and the time for its
products at half the card's peak. The evidence is timm's published throughputs on one RTX 3090 (half precision,
channels-last): the median ratio of real to modelled time is 0.92 for 75 compact ConvNets (10 to 90 %: 0.76 to 1.40) and
1.11 for 413 ConvNets (0.81 to 3.04). ``benchmarks/roofline.py`` reproduces these numbers.

Reading and decoding images, which is work for the CPUs, is not included.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from accounting.macs.count import MacsReport
from harness.errors import InputError

BYTES_PER_VALUE = 2
"""Bytes per value in half precision."""
TOUCHES_PER_VALUE = 40.0
"""How often training reads or writes each output of a layer."""
SHARE_OF_PEAK = 0.5
"""Share (0-1) of the published half-precision peak that compute-bound layers reach."""
KERNELS_PER_LAYER = 12
"""Number of kernels launched for a layer with its normalisation and activation, forward and backward."""
LAUNCH_S = 5e-6
"""Seconds between the launches of two kernels."""
LOW, HIGH = 0.6, 2.8
"""The range of the ratio of real to modelled time that a plan prints."""


@dataclass(frozen=True)
class Hardware:
    """A GPU.

    ``peak_tflops`` is the peak of dense half-precision products in 10^12 operations per second (a MAC is two
    operations). ``bandwidth_gb_s`` is the memory bandwidth in GB per second. ``ledger_names`` are the driver's names
    for it, which price lists may use. ``source`` is where the peaks are published.
    """

    name: str
    peak_tflops: float
    bandwidth_gb_s: float
    ledger_names: tuple[str, ...]
    source: str

    def seconds_per_image(self, network: MacsReport, batch_size: int) -> float:
        """The seconds to train on one image, forward and backward, in a batch of ``batch_size``."""
        values = sum(layer.positions * layer.weight_shape[0] for layer in network.layers)
        memory_s = TOUCHES_PER_VALUE * values * BYTES_PER_VALUE / (self.bandwidth_gb_s * 1e9)
        products_s = 3 * 2 * network.macs / (SHARE_OF_PEAK * self.peak_tflops * 1e12)
        launches_s = KERNELS_PER_LAYER * LAUNCH_S * len(network.layers) / batch_size
        return max(memory_s, products_s, launches_s)


_NVIDIA = "NVIDIA's data sheet"
HARDWARE = (
    Hardware("V100-16GB", 125, 900, ("Tesla V100-SXM2-16GB",), f"{_NVIDIA} of the Tesla V100"),
    Hardware("V100-32GB", 125, 900, ("Tesla V100-SXM2-32GB",), f"{_NVIDIA} of the Tesla V100"),
    Hardware("T4", 65, 320, ("Tesla T4", "NVIDIA T4"), f"{_NVIDIA} of the T4"),
    Hardware("A10", 125, 600, ("NVIDIA A10",), f"{_NVIDIA} of the A10"),
    Hardware("L4", 121, 300, ("NVIDIA L4",), f"{_NVIDIA} of the L4"),
    Hardware("L40S", 362, 864, ("NVIDIA L40S",), f"{_NVIDIA} of the L40S"),
    Hardware("A100-40GB", 312, 1555, ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB"), f"{_NVIDIA} of the A100"),
    Hardware("A100-80GB", 312, 2039, ("NVIDIA A100-SXM4-80GB",), f"{_NVIDIA} of the A100"),
    Hardware("H100-80GB", 989, 3350, ("NVIDIA H100 80GB HBM3",), f"{_NVIDIA} of the H100"),
    Hardware("H200", 989, 4800, ("NVIDIA H200",), f"{_NVIDIA} of the H200"),
    Hardware("RTX3090", 71, 936, ("NVIDIA GeForce RTX 3090",), "NVIDIA's white paper of the GA102"),
    Hardware("RTX4090", 165, 1008, ("NVIDIA GeForce RTX 4090",), "NVIDIA's white paper of the Ada architecture"),
)
"""Known GPUs; peaks are those of dense products in half precision, summed in single precision."""


@dataclass(frozen=True)
class Fleet:
    """``count`` devices of one kind."""

    hardware: Hardware
    count: int

    def model(self, declared: Collection[str]) -> str:
        """Its name in a ledger: that of the ``declared`` models if one is, else the first one known."""
        return next((name for name in self.hardware.ledger_names if name in declared), self.hardware.ledger_names[0])

    def __str__(self) -> str:
        return f"{self.count}x {self.hardware.name}"


def parse_fleets(text: str) -> tuple[Fleet, ...]:
    """Fleets from text such as ``8x A100-80GB`` or ``4x H100-80GB, 8x A100-80GB``; raises as :func:`parse_fleet`."""
    fleets = tuple(parse_fleet(part) for part in text.split(","))
    names = [fleet.hardware.name for fleet in fleets]
    if len(set(names)) < len(names):
        raise InputError(f"--on: {text!r} given; name each device once")
    return fleets


def parse_fleet(text: str) -> Fleet:
    """A fleet from text such as ``8x A100-80GB`` or ``h200``.

    Raises:
        InputError: the text does not have that form, or the device is not in the table.

    """
    match = re.fullmatch(r"(?:(\d{1,6})\s*[x×]\s*)?(\S[\w -]*)", text.strip(), re.IGNORECASE)
    wanted = _plain(match.group(2)) if match else ""
    found = [each for each in HARDWARE if wanted and wanted in {_plain(each.name), *map(_plain, each.ledger_names)}]
    count = int(match.group(1) or 1) if match else 0
    if len(found) != 1 or count < 1:
        near = [each.name for each in HARDWARE if wanted and _plain(each.name).startswith(wanted)]
        names = ", ".join(near or [each.name for each in HARDWARE])
        raise InputError(
            f"--on: {text!r} given; a number and a device are expected, as '8x A100-80GB'; devices: {names}"
        )
    return Fleet(found[0], count)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]|nvidia|geforce|tesla", "", name.lower())
