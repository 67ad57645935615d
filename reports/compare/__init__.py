"""Pruning against each challenger: statistics, what was measured and charged by when, verdicts, controls."""
