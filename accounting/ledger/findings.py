"""Findings: what a check of a ledger reports, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Something that does not add up (error) or that a reader should know (warning), in one line."""

    severity: Literal["error", "warning"]
    code: str
    """The check that found it, such as ``attempt_recorded_twice``."""
    message: str
