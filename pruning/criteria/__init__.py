"""The criteria: each is a file, here, in an installed package or named by a study, with a class ``Criterion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accounting.study import plugins

if TYPE_CHECKING:  # it imports torch, which a config that names methods does not need
    from pruning.criterion import Criterion


def list_criteria() -> list[str]:
    """Names of all criteria, sorted."""
    return plugins.names(plugins.Kind.CRITERION)


def load_criterion(name: str) -> Criterion:
    """Create the criterion of that name.

    Raises:
        ValueError: no such criterion (the message lists the allowed names and the nearest), or its file cannot be used.

    """
    criterion: Criterion = plugins.load(plugins.Kind.CRITERION, name).Criterion()
    return criterion
