"""Everything that can be read on a node, as one reader: its GPUs through NVML, its processors through RAPL."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from accounting.meters.meter import DeviceReader, MeterName, Reading, is_gpu
from accounting.meters.nvml import open_reader
from accounting.meters.rapl import RaplReader

logger = logging.getLogger(__name__)


class NodeReader:
    """Several readers, each used for its own devices; GPUs that none knows count as the first one's."""

    def __init__(self, readers: Sequence[DeviceReader]) -> None:
        self._readers = tuple(readers)
        self._of = {device: reader for reader in reversed(self._readers) for device in reader.devices()}

    def meter_of(self, device: str) -> MeterName:
        """How the device is read; ``wall_clock`` if it is not read at all."""
        reader = self._of.get(device)
        if reader is None:
            return self._readers[0].meter if self._readers and is_gpu(device) else "wall_clock"
        return reader.meter

    def sample(self, device: str) -> Reading | None:
        """Sample a device; None if no reader covers it."""
        reader = self._of.get(device)
        if reader is not None:
            return reader.sample(device)
        return Reading(flags=("device_unreadable",)) if is_gpu(device) else None


def node_reader(cpu: str) -> NodeReader:
    """A reader for everything on this machine; ``cpu`` is the device name of its processors."""
    readers: list[DeviceReader] = [open_reader()]
    try:
        readers.append(RaplReader(cpu))
    except OSError as error:
        logger.debug("%s", error)
    return NodeReader(readers)
