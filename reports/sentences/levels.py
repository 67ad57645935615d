"""Accuracies at chance level and at the ceiling, in words."""

from __future__ import annotations

from collections.abc import Sequence

from accounting.words.names import label_text
from accounting.words.quantities import macs_text
from accounting.words.task import task
from reports.data.levels import Level, level_of, networks_at_levels
from reports.data.networks import Network
from reports.statistics import Estimate
from reports.words.wording import percent


def with_level(text: str, value: float | Estimate | None, classes: int | None) -> str:
    """The text of an accuracy, followed by the name of its level if it is at one."""
    level = level_of(value, classes)
    return text if level is None else f"{text}, {level}"


def level_sentences(delivered: Sequence[Network], classes: int | None) -> list[str]:
    """Sentences that name delivered networks at chance and at the ceiling."""
    named: dict[Level, list[str]] = {}
    for found in networks_at_levels(delivered, classes):
        text = f"{label_text(found.label)} at {macs_text(found.target)} MACs ({percent(found.test_top1.value)})"
        named.setdefault(found.level, []).append(text)
    sentences = []
    at_chance = named.get(Level.CHANCE)
    if at_chance and classes is not None:
        sentences.append(
            f"At {task().guessing} level ({percent(task().chance(classes))} with {classes} {task().outputs}, within 2 "
            "points or the 95 % interval): "
            f"test {task().metric} of {', '.join(at_chance)}. These networks are not shown to have learned "
            "anything, so their "
            "costs and differences say nothing about the two routes."
        )
    if at_ceiling := named.get(Level.CEILING):
        sentences.append(
            f"At the ceiling (100 {task().unit}): test {task().metric} of {', '.join(at_ceiling)}. No network can be better "
            f"there, so {task().qualities} "
            "cannot tell them apart."
        )
    return sentences
