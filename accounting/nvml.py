"""The reader of the GPUs' meters, under the name that scripts know: see ``accounting.meters.nvml``."""

from accounting.meters.nvml import NvmlReader, open_reader

__all__ = ["NvmlReader", "open_reader"]
