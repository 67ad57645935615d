"""What a pruning method is called: what is removed and where (scope), by which criterion, on which schedule.

``global_magnitude`` · ``uniform_lamp+gradual`` · ``channels_taylor+iterative`` · ``blocks_magnitude`` · ``nm_magnitude``.
Which criteria there are, :mod:`pruning.methods` knows, which also refuses what cannot be.
"""

from __future__ import annotations

from dataclasses import dataclass

ONE_SHOT = "one_shot"
MASK_SCOPES = ("global", "uniform", "nm")
"""Zeros in layers of the parent's size: one threshold, one share for all layers, 2 of every 4."""
CHANNEL_SCOPES = ("channels", "channels_global")
"""A physically smaller network: the same share of every group of channels, or one ranking over all groups."""
BLOCK_SCOPES = ("blocks", "se_blocks")
"""Whole residual or squeeze-excite blocks, then channels for what is left; ordered by magnitude alone."""
SCOPES = (*MASK_SCOPES, *CHANNEL_SCOPES, *BLOCK_SCOPES)
SCHEDULES = (ONE_SHOT, "iterative", "gradual")
SCOPE_TEXT = {
    "global": "global",
    "uniform": "uniform",
    "nm": "N:M",
    "channels": "channels",
    "channels_global": "channels (global)",
    "blocks": "residual blocks",
    "se_blocks": "SE blocks",
}
CRITERION_TEXT = {"lamp": "LAMP", "macs_magnitude": "magnitude per MAC", "taylor": "Taylor"}
SCHEDULE_TEXT = {ONE_SHOT: "one-shot", "iterative": "iterative", "gradual": "gradual"}


@dataclass(frozen=True)
class Method:
    """A pruning method; ``str`` gives its name, without the schedule where that is one-shot."""

    scope: str
    criterion: str
    schedule: str = ONE_SHOT

    def __str__(self) -> str:
        """The name in configs, jobs and reports."""
        base = f"{self.scope}_{self.criterion}" if self.criterion else self.scope
        return base if self.schedule == ONE_SHOT else f"{base}+{self.schedule}"

    @property
    def is_structured(self) -> bool:
        """Whether the result is a smaller network instead of one with zeros."""
        return self.scope not in MASK_SCOPES

    @property
    def text(self) -> str:
        """The method for people, without a one-shot schedule."""
        link = " by " if self.is_structured and self.criterion else " "
        name = f"{SCOPE_TEXT.get(self.scope, self.scope)}{link}{criterion_text(self.criterion)}".strip()
        return name if self.schedule == ONE_SHOT else f"{name}, {schedule_text(self.schedule)}"


def parse_method(name: str, schedule: str = ONE_SHOT) -> Method:
    """Read ``<scope>_<criterion>`` or ``<scope>_<criterion>+<schedule>``; ``schedule`` is that of a name without one.

    Any name is read, since reports show studies with others' plug-ins: an unknown scope is the first word.
    """
    base, _, named = name.partition("+")
    known = [scope for scope in SCOPES if base == scope or base.startswith(f"{scope}_")]
    scope = max(known, key=len) if known else base.partition("_")[0]
    return Method(scope, base[len(scope) :].removeprefix("_"), named or schedule)


def criterion_text(criterion: str) -> str:
    """A criterion for people."""
    return CRITERION_TEXT.get(criterion, criterion.replace("_", " "))


def schedule_text(schedule: str) -> str:
    """A schedule for people."""
    return SCHEDULE_TEXT.get(schedule, schedule.replace("_", " "))
