"""Pruning against each challenger: statistics, anytime curves, verdicts, controls."""
