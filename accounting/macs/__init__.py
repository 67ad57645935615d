"""Multiply-accumulates of a network; the only package of accounting that imports torch."""

from accounting.macs.count import LayerMacs, MacsReport, count_macs

__all__ = ["LayerMacs", "MacsReport", "count_macs"]
