"""Kinds of delivered networks by their label: a route's own, a single pruning method's, or a control.

A route's own network has the route's name as its label. ``prune:<scope>_<criterion>``, with ``+<schedule>`` unless that
is one-shot, is the network of one pruning method, delivered beside the best of them; anything else is a control.
"""

from __future__ import annotations

from dataclasses import dataclass

METHOD_MARK = ":"
ONE_SHOT = "one_shot"
MASK_SCOPES = ("global", "uniform", "nm")
"""Scopes that leave zeros in layers of the parent's size; the others make a physically smaller network."""
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
    """A pruning method, as its name says: where it removes (``scope``), by which criterion, on which schedule."""

    scope: str
    criterion: str
    schedule: str = ONE_SHOT

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


def parse_method(name: str) -> Method:
    """Read ``<scope>_<criterion>`` or ``<scope>_<criterion>+<schedule>``; a scope nobody knows is the first word."""
    base, _, schedule = name.partition("+")
    known = [scope for scope in SCOPE_TEXT if base == scope or base.startswith(f"{scope}_")]
    scope = max(known, key=len) if known else base.partition("_")[0]
    return Method(scope, base[len(scope) :].removeprefix("_"), schedule or ONE_SHOT)


def is_method(label: str) -> bool:
    """Whether a label is that of a single method's network (``prune:global_lamp``), not a route's own or a control."""
    return METHOD_MARK in label


def method_of(label: str) -> Method | None:
    """The pruning method of a label; None where it is not a single method's."""
    return parse_method(label.partition(METHOD_MARK)[2]) if is_method(label) else None


def criterion_text(criterion: str) -> str:
    """A criterion for people."""
    return CRITERION_TEXT.get(criterion, criterion.replace("_", " "))


def schedule_text(schedule: str) -> str:
    """A schedule for people."""
    return SCHEDULE_TEXT.get(schedule, schedule.replace("_", " "))
