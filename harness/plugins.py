"""Everything that a config may name, by kind."""

from __future__ import annotations

from accounting.study import plugins
from accounting.words.methods import SCHEDULES
from harness.config.route_files import route_names
from harness.config.shipped import shipped_studies
from harness.data.registry import list_datasets
from nas_baseline.spaces import list_spaces
from nas_baseline.spaces.families import list_families, variants
from nas_baseline.strategies import list_strategies
from pruning.methods import list_methods
from reports.figures import list_figures


def list_all() -> dict[str, list[str]]:
    """The names that a config may use, by kind."""
    return {
        "criteria": list_methods(),
        "schedules": list(SCHEDULES),
        "strategies": list_strategies(),
        "spaces": list_spaces(),
        "datasets": list_datasets(),
        "routes": route_names(),
        "models": [f"{family} {variant}" for family in list_families() for variant in variants(family)]
        + ["timm <any name of timm.list_models()>"],
        "figures": list_figures(),
        "loggers": plugins.names(plugins.Kind.LOGGER),
        "studies": list(shipped_studies()),
    }
