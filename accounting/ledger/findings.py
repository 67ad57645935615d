"""What a check of a ledger has to say: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Something that does not add up (error), or that a reader should know (warning); one line."""

    severity: Literal["error", "warning"]
    code: str
    """Which check found it, such as ``attempt_recorded_twice``."""
    message: str
