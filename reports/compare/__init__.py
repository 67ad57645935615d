"""Pruning compared with each challenger: learning curves and charges over time, statistics, verdicts, controls."""
