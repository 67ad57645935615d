"""Multiply-accumulates of a network; the only room of accounting that knows torch."""

from accounting.macs.count import LayerMacs, MacsReport, count_macs

__all__ = ["LayerMacs", "MacsReport", "count_macs"]
