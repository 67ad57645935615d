"""What a config calls a pruning method: what is removed and where (scope), by which criterion, on which schedule.

``global_magnitude`` · ``uniform_lamp+gradual`` · ``channels_taylor+iterative`` · ``blocks_magnitude`` · ``nm_magnitude``
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from pruning.criteria import list_criteria

MASK_SCOPES = ("global", "uniform", "nm")
"""Zeros in the weights: one threshold, one share for all layers, 2 of every 4."""
CHANNEL_SCOPES = ("channels", "channels_global")
"""A physically smaller network: the same share of every group of channels, or one ranking over all groups."""
BLOCK_SCOPES = ("blocks", "se_blocks")
"""Whole residual or squeeze-excite blocks, then channels for what is left; ordered by magnitude alone."""
SCOPES = (*MASK_SCOPES, *CHANNEL_SCOPES, *BLOCK_SCOPES)
SCHEDULES = ("one_shot", "iterative", "gradual")


@dataclass(frozen=True)
class Method:
    """A parsed method; ``str`` gives it back, without the schedule where that is one-shot."""

    scope: str
    criterion: str
    schedule: str = "one_shot"

    def __str__(self) -> str:
        """The name in configs, jobs and reports."""
        base = f"{self.scope}_{self.criterion}"
        return base if self.schedule == "one_shot" else f"{base}+{self.schedule}"

    @property
    def is_structured(self) -> bool:
        """Whether the result is a smaller network instead of one with zeros."""
        return self.scope not in MASK_SCOPES


def list_methods() -> list[str]:
    """Every scope with every criterion it takes, without schedules."""
    scored = [f"{scope}_{criterion}" for scope in (*MASK_SCOPES, *CHANNEL_SCOPES) for criterion in list_criteria()]
    return scored + [f"{scope}_magnitude" for scope in BLOCK_SCOPES]


def parse_method(text: str, default_schedule: str = "one_shot") -> Method:
    """Read ``<scope>_<criterion>`` or ``<scope>_<criterion>+<schedule>``.

    Raises:
        ValueError: unknown parts, with the allowed ones and the nearest; or a schedule that the scope cannot follow.

    """
    base, plus, schedule = text.partition("+")
    allowed = list_methods()
    if base not in allowed:
        near = difflib.get_close_matches(base, allowed, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"unknown criterion {base!r}{hint}; allowed: {', '.join(allowed)}")
    schedule = schedule if plus else default_schedule
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r} of {text!r}; allowed: {', '.join(SCHEDULES)}")
    scope = next(s for s in sorted(SCOPES, key=len, reverse=True) if base.startswith(f"{s}_"))
    if schedule == "gradual" and scope not in ("global", "uniform"):
        raise ValueError(f"{text!r}: gradual takes masks of any size, which {scope} does not give; use iterative")
    if schedule == "iterative" and scope == "nm":
        raise ValueError(f"{text!r}: 2 of 4 has no steps in between; use one_shot")
    return Method(scope, base.removeprefix(f"{scope}_"), schedule)
