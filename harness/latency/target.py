"""Converts targets in milliseconds to MACs, once, by timing the parent at decreasing widths on this machine.

Channels are removed evenly (the same share of every group). The result depends only on the parent's shape, not on its
weights: the same MACs give the same widths, and so the same latency, in every replicate of the study.
"""

from __future__ import annotations

import logging
from functools import partial

import torch
from torch import nn

from accounting.ledger.records import Phase
from accounting.words.quantities import macs_text
from harness.config.study import StudyConfig
from harness.data.registry import open_dataset
from harness.data.sized import info_at
from harness.devices import choose_device
from harness.errors import InputError
from harness.latency.errors import WrongOutput
from harness.latency.networks import time_network
from harness.models.build import build_network, parent_spec
from harness.models.target_percents import resolve_percents
from pruning.channels import NotFollowed
from pruning.layers import parse_filter
from pruning.solve import UnreachableTarget
from pruning.to_latency import LatencyResult, Outcome, prune_channels_to_latency

REPETITIONS = 30
"""Number of timed passes of one image, for each width that is tried."""
RUNTIME = "eager"
"""The runtime with which the parent, and the networks delivered for such a target, are timed."""

log = logging.getLogger(__name__)


def resolve_targets(config: StudyConfig, held: StudyConfig | None) -> StudyConfig:
    """The config with all ``targets`` in MACs, whether given as latencies or as shares of the parent's MACs.

    A latency that ``held``, the study in the folder, already has keeps its MACs; any other is measured now.

    Raises:
        InputError: a latency is above the parent's or below what removing channels can reach, or the latencies do not
            lead to distinct networks in the same order.

    """
    if config.target is None or config.targets:
        return resolve_percents(config)
    known = {}
    if held is not None and held.target is not None:
        latencies_ms = sorted(held.target.latency_ms, reverse=True)
        known = dict(zip(latencies_ms, sorted(held.targets, reverse=True), strict=True))
    found = [
        known[latency_ms] if latency_ms in known else measure_target(config, latency_ms).pruned.target_macs
        for latency_ms in config.target.latency_ms
    ]
    if len(set(found)) < len(found):
        raise InputError(
            f"target.latency_ms: {config.target.latency_ms} come to one network; name latencies farther apart"
        )
    falling = sorted(config.target.latency_ms, reverse=True)
    in_order = [macs for _, macs in sorted(zip(config.target.latency_ms, found, strict=True), reverse=True)]
    if in_order != sorted(found, reverse=True):
        raise InputError(
            f"target.latency_ms: {falling} ms come to {in_order} MACs, measured at different times, which contradict each "
            "other; name latencies farther apart from those that the study has"
        )
    return config.model_copy(update={"targets": in_order})


def measure_target(config: StudyConfig, latency_ms: float) -> LatencyResult:
    """The parent with fresh weights, narrowed until one image takes at most ``latency_ms`` (else ``InputError``)."""
    info = info_at(open_dataset(config.dataset).info(), config.parent.image_size)
    model = build_network(parent_spec(config.parent, info)).eval()
    device = "cuda" if choose_device(config.resources.device, torch.cuda.device_count()) == "cuda" else "cpu"
    threads = config.resources.shape(Phase.EXPORT, device).threads if device == "cpu" else 1
    time_it = partial(
        time_network, input_size=info.image_shape, device=device, threads=threads, runtime=RUNTIME, repetitions=REPETITIONS,
    )  # fmt: skip

    def measure(smaller: nn.Module) -> float:
        return time_it(smaller).median_ms

    prune = next(iter(config.routes.of_the_parent.values()), None)
    if prune is None:
        raise InputError("target: a latency needs the prune route; add routes.prune")
    try:
        result = prune_channels_to_latency(
            model,
            info.image_shape,
            latency_ms,
            measure,
            round_to=prune.round_to,
            floor=prune.channel_floor,
            keep=parse_filter(prune.keep) if prune.keep else None,
        )
    except NotFollowed as error:
        raise InputError(f"parent: no channels can be removed from it on {info.image_shape} images: {error}") from None
    except (UnreachableTarget, ValueError, WrongOutput) as error:
        raise InputError(f"target.latency_ms: {error}") from None
    if result.outcome is Outcome.ALREADY_MET:
        raise InputError(
            f"target.latency_ms: {latency_ms:g} ms given, the parent takes {result.dense_ms:.3g} ms of one image here "
            f"({macs_text(result.pruned.macs)} MACs); name latencies below it"
        )
    log.info(
        "%g ms: %s MACs, which took %.3g ms here on fresh weights (the parent %.3g ms; %s, %s threads, %d networks timed)",
        latency_ms, macs_text(result.pruned.target_macs), result.latency_ms, result.dense_ms, RUNTIME, threads,
        len(result.probes),
    )  # fmt: skip
    return result
