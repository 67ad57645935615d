"""A resolved config in the form in which a user could write it, so that ``run`` accepts ``study.yaml`` again."""

from __future__ import annotations

from accounting.words.quantities import hours_text
from harness.config.no_effect import without_effect
from harness.config.study import StudyConfig


def as_written(config: StudyConfig) -> dict[str, object]:
    """The config as nested values, including defaults but nothing that is unset; hours have their unit."""
    raw = config.model_dump(mode="json", exclude_none=True)
    # only the keys given for the dataset, since a dataset refuses keys that it does not use
    raw["dataset"] = config.dataset.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    raw["budget"] = {route: hours_text(hours) for route, hours in raw["budget"].items()}
    return raw


def runnable(config: StudyConfig) -> dict[str, object]:
    """:func:`as_written` without the defaults that would have no effect if they were given."""
    raw = as_written(config)
    for place, _ in without_effect(StudyConfig.model_validate(raw)):
        holder: object = raw
        for key in place[:-1]:
            holder = holder.get(key, {}) if isinstance(holder, dict) else {}
        if isinstance(holder, dict):
            holder.pop(place[-1], None)
    return raw
