"""Converts targets given as shares of the parent's MACs to MACs, once the parent's MACs can be counted."""

from __future__ import annotations

from accounting.words.quantities import macs_text, percent_of
from harness.config.study import StudyConfig
from harness.data.registry import open_dataset
from harness.data.sized import info_at
from harness.errors import InputError
from harness.models.parent_check import built_parent


def resolve_percents(config: StudyConfig) -> StudyConfig:
    """The config with every target in MACs; ``InputError`` if two are equal, or one is less than one MAC.

    Only the parent and its image size matter, so a resumed study has the same targets as before.
    """
    if not config.target_percents:
        return config
    parent_macs = built_parent(config.parent, info_at(open_dataset(config.dataset).info(), config.parent.image_size))[2]
    found = [(f"{percent:.15g}%", percent_of(percent, parent_macs)) for percent in config.target_percents]
    targets = [*config.targets, *(macs for _, macs in found)]
    if min(targets) < 1:
        raise InputError(f"targets: a share comes to less than one of the parent's {macs_text(parent_macs)} MACs")
    for text, macs in found:
        if targets.count(macs) > 1:
            raise InputError(
                f"targets: {text} comes to {macs_text(macs)} MACs, which another target has too; name each once"
            )
    return config.model_copy(update={"targets": sorted(targets, reverse=True), "target_percents": []})
