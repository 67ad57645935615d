"""How busy the multiprocessors of a GPU were between two samples, from NVML's GPM counters (Hopper and later).

*Utilisation* (``nvmlDeviceGetUtilizationRates``) is 1 as soon as one small kernel runs. *SM activity* is the share of
the multiprocessors that had work, averaged over the time between two samples. Devices without these counters have none.
"""

from __future__ import annotations

import logging
from types import ModuleType

logger = logging.getLogger(__name__)


class SmActivity:
    """Keeps the last sample of each device; ``nvml`` is the module ``pynvml``."""

    def __init__(self, nvml: ModuleType) -> None:
        self._nvml = nvml
        self._last: dict[str, object] = {}
        self._silent: set[str] = set()
        """Devices without such counters, or that do not let us read them; they are not asked again."""

    def since_last(self, device: str, handle: object) -> float | None:
        """Fraction 0-1 since the last call for this device; None at the first call, or if it is not reported."""
        if device in self._silent:
            return None
        nvml = self._nvml
        try:
            if device not in self._last and not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                self._silent.add(device)
                return None
            sample = nvml.nvmlGpmSampleAlloc()
            nvml.nvmlGpmSampleGet(handle, sample)
            before = self._last.get(device)
            self._last[device] = sample
            if before is None:
                return None
            found = self._activity(before, sample)
            nvml.nvmlGpmSampleFree(before)
        except (nvml.NVMLError, AttributeError) as error:  # an older pynvml has no such functions
            logger.debug("no SM activity of %s: %s", device, error)
            self._silent.add(device)
            return None
        return found

    def _activity(self, before: object, after: object) -> float | None:
        nvml = self._nvml
        asked = nvml.c_nvmlGpmMetricsGet_t()
        asked.version, asked.numMetrics = nvml.NVML_GPM_METRICS_GET_VERSION, 1
        asked.sample1, asked.sample2 = before, after
        asked.metrics[0].metricId = nvml.NVML_GPM_METRIC_SM_UTIL
        answer = nvml.nvmlGpmMetricsGet(asked).metrics[0]
        percent = float(answer.value)
        return percent / 100 if answer.nvmlReturn == nvml.NVML_SUCCESS and 0 <= percent <= 100 else None
