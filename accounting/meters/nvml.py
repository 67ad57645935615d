"""Reads NVIDIA devices through NVML (package ``nvidia-ml-py``, module ``pynvml``), keyed by UUID.

NVML ignores ``CUDA_VISIBLE_DEVICES`` and orders devices by PCI bus, while a process numbers only the devices visible to
it; so tokens are resolved to full UUIDs once, and UUIDs are the only keys. Energy comes from the device's own counter
(Volta and later; millijoules since the driver was loaded, updated every 20-100 ms). Only differences are meaningful,
and a negative one means that the driver was reset. MIG slices have no counter. For what samples add, see
:mod:`accounting.meters.gpm`.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from accounting.meters.gpm import SmActivity
from accounting.meters.meter import DeviceReader, MeterName, NullReader, Reading

logger = logging.getLogger(__name__)


class NvmlReader:
    """Energy, memory and utilisation of every NVIDIA device of this machine.

    Raises:
        OSError: NVML cannot be loaded, or no driver answers (:func:`open_reader` then returns a null reader).

    """

    meter: MeterName = "nvml"

    def __init__(self) -> None:
        try:
            self._nvml: Any = importlib.import_module("pynvml")
        except ImportError as error:
            raise OSError(f"NVML cannot be read: {error}") from error
        try:
            self._nvml.nvmlInit()
            places = range(self._nvml.nvmlDeviceGetCount())
        except self._nvml.NVMLError as error:
            raise OSError(f"NVML does not answer: {error}") from error
        self._places = tuple(self._uuid_and_handle(i) for i in places)
        self._handles = {uuid: handle for uuid, handle in self._places if uuid is not None}
        self._sm_activity = SmActivity(self._nvml)

    def devices(self) -> tuple[str, ...]:
        """Full UUIDs, in NVML's order (by PCI bus), of the devices that answer; see :attr:`num_lost`."""
        return tuple(self._handles)

    @property
    def num_lost(self) -> int:
        """How many devices of the machine do not identify themselves: fallen off the bus, or not permitted."""
        return len(self._places) - len(self._handles)

    def name(self, device: str) -> str:
        """The product name of a device, such as ``NVIDIA H100 80GB HBM3``."""
        return _text(self._nvml.nvmlDeviceGetName(self._handles[device]))

    def read(self, device: str) -> Reading:
        """Read a device now; unsupported values are None, and a device that cannot be read at all is flagged."""
        handle = self._handles.get(device)
        if handle is None:
            return Reading(flags=("device_unreadable",))
        energy_mj = self._ask("nvmlDeviceGetTotalEnergyConsumption", handle)
        utilisation = self._ask("nvmlDeviceGetUtilizationRates", handle)
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle)
        is_silent = energy_mj is None and utilisation is None and memory is None
        return Reading(
            energy_j=None if energy_mj is None else energy_mj / 1e3,
            utilisation=None if utilisation is None else utilisation.gpu / 100,
            memory_mb=None if memory is None else memory.used / 1e6,
            flags=("device_unreadable",) if is_silent else (),
        )

    def sample(self, device: str) -> Reading:
        """The same with power, and with SM activity since the last sample of the device (Hopper and later)."""
        found, handle = self.read(device), self._handles.get(device)
        if handle is None:
            return found
        power_mw = self._ask("nvmlDeviceGetPowerUsage", handle)
        return replace(
            found,
            power_w=None if power_mw is None else power_mw / 1e3,
            sm_activity=self._sm_activity.since_last(device, handle),
        )

    def resolve_visible(self, tokens: Sequence[str | int]) -> tuple[str, ...]:
        """Full UUIDs for the tokens of a ``CUDA_VISIBLE_DEVICES``: numbers in NVML's order, UUIDs, or their prefixes.

        A MIG UUID is returned unchanged, as NVML lists whole devices only.

        Raises:
            ValueError: a number out of range or of a device that does not answer; a prefix of no device or several; a device
                that is named twice, with which CUDA sees none.

        """
        found = tuple(self._resolve(str(token).strip()) for token in tokens)
        if twice := next((uuid for uuid in found if found.count(uuid) > 1), None):
            raise ValueError(f"CUDA_VISIBLE_DEVICES names {twice} twice; name each device once")
        return found

    def _resolve(self, token: str) -> str:
        known = tuple(self._handles)
        if token.startswith("MIG-"):
            return token
        if token.isdecimal():
            if int(token) >= len(self._places):
                raise ValueError(f"CUDA_VISIBLE_DEVICES names device {token}, this machine has {len(self._places)}")
            uuid = self._places[int(token)][0]
            if uuid is None:
                raise ValueError(f"CUDA_VISIBLE_DEVICES names device {token}, which does not answer (lost?)")
            return uuid
        fitting = [uuid for uuid in known if token and uuid.startswith(token)]
        if len(fitting) != 1:
            here = ", ".join(known) or "none"
            raise ValueError(f"CUDA_VISIBLE_DEVICES token {token!r} fits {len(fitting)} devices; here are {here}")
        return fitting[0]

    def _uuid_and_handle(self, place: int) -> tuple[str | None, object]:
        """UUID and handle of one device; (None, None) for a lost device, so that it does not hide the others."""
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(place)
            return _text(self._nvml.nvmlDeviceGetUUID(handle)), handle
        except self._nvml.NVMLError as error:
            logger.warning(
                "GPU %d of this machine cannot be read and is left out of the measurements: %s", place, error
            )
            return None, None

    def _ask(self, question: str, handle: object) -> Any:
        """The answer to one NVML call; None if the device does not support it or is gone."""
        try:
            return getattr(self._nvml, question)(handle)
        except self._nvml.NVMLError as error:
            logger.debug("%s: %s", question, error)
            return None


def open_reader() -> DeviceReader:
    """A reader of this machine's NVIDIA devices, or a null reader if no driver answers."""
    try:
        return NvmlReader()
    except OSError as error:
        logger.debug("%s; measuring by the wall clock", error)
        return NullReader()


def _text(value: str | bytes) -> str:
    """NVML returns bytes or str, depending on its version."""
    return value.decode() if isinstance(value, bytes) else value
