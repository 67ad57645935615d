"""Names of pruning methods: what is removed and where (scope), by which criterion, on which schedule.

``global_magnitude`` · ``uniform_lamp+gradual`` · ``channels_taylor+iterative`` · ``blocks_magnitude`` ·
``nm_magnitude``; with ``+distilled`` if the pruned network is fine-tuned with a teacher, in contrast to the same method
without one. The existing criteria are listed by :mod:`pruning.methods`, which also refuses impossible combinations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

ONE_SHOT = "one_shot"
MASK_SCOPES = ("global", "uniform", "nm")
"""Zeros in layers of the parent's size: by one threshold, with one share for all layers, or 2 of every 4."""
CHANNEL_SCOPES = ("channels", "channels_global", "channels_isomorphic")
"""A physically smaller network: one share for all groups of channels, or one ranking over all, or over similar ones."""
BLOCK_SCOPES = ("blocks", "se_blocks")
"""Whole residual or squeeze-excite blocks, then channels for the rest; ordered by magnitude only."""
SCOPES = (*MASK_SCOPES, *CHANNEL_SCOPES, *BLOCK_SCOPES)
SCHEDULES = (ONE_SHOT, "iterative", "gradual")
SCOPE_TEXT = {
    "global": "global",
    "uniform": "uniform",
    "nm": "N:M",
    "channels": "channels",
    "channels_global": "channels (global)",
    "channels_isomorphic": "channels (isomorphic)",
    "blocks": "residual blocks",
    "se_blocks": "SE blocks",
}
CRITERION_TEXT = {"lamp": "LAMP", "macs_magnitude": "magnitude per MAC", "taylor": "Taylor"}
SCHEDULE_TEXT = {ONE_SHOT: "one-shot", "iterative": "iterative", "gradual": "gradual"}


DISTILLED = "distilled"


@dataclass(frozen=True)
class Method:
    """A pruning method; ``str`` gives its name, which leaves out a one-shot schedule."""

    scope: str
    criterion: str
    schedule: str = ONE_SHOT
    is_distilled: bool = False
    """Whether the name marks fine-tuning with a teacher; if not, the recipe decides whether there is one."""

    def __str__(self) -> str:
        """The name in configs, jobs and reports."""
        base = f"{self.scope}_{self.criterion}" if self.criterion else self.scope
        marks = [] if self.schedule == ONE_SHOT else [self.schedule]
        return "+".join((base, *marks, *([DISTILLED] if self.is_distilled else [])))

    @property
    def undistilled(self) -> Method:
        """The same method without a teacher of its own."""
        return replace(self, is_distilled=False)

    @property
    def is_structured(self) -> bool:
        """Whether the result is a smaller network instead of one with zeros."""
        return self.scope not in MASK_SCOPES

    @property
    def text(self) -> str:
        """The method as shown to people, without a one-shot schedule."""
        link = " by " if self.is_structured and self.criterion else " "
        name = f"{SCOPE_TEXT.get(self.scope, self.scope)}{link}{criterion_text(self.criterion)}".strip()
        marks = [] if self.schedule == ONE_SHOT else [schedule_text(self.schedule)]
        return ", ".join((name, *marks, *([DISTILLED] if self.is_distilled else [])))


def parse_method(name: str, schedule: str = ONE_SHOT) -> Method:
    """Parse ``<scope>_<criterion>[+<schedule>][+distilled]``; ``schedule`` is used if the name has none.

    Any name is accepted, since reports show studies with others' plug-ins; an unknown scope is the first word.
    """
    base, *marks = name.split("+")
    named = "+".join(mark for mark in marks if mark != DISTILLED)
    known = [scope for scope in SCOPES if base == scope or base.startswith(f"{scope}_")]
    scope = max(known, key=len) if known else base.partition("_")[0]
    return Method(scope, base[len(scope) :].removeprefix("_"), named or schedule, DISTILLED in marks)


def criterion_text(criterion: str) -> str:
    """A criterion as shown to people."""
    return CRITERION_TEXT.get(criterion, criterion.replace("_", " "))


def schedule_text(schedule: str) -> str:
    """A schedule as shown to people."""
    return SCHEDULE_TEXT.get(schedule, schedule.replace("_", " "))
