"""Sections that a page has only if the study measured something for them: pruning methods, sparsity, predictor, int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from reports.data.frames import Frames
from reports.page.optional_tables import deployment_table, method_table, role_table
from reports.page.section import Captioned, Section

if TYPE_CHECKING:  # imports Matplotlib
    from reports.page.render import Rendered

PLACES = {
    "Pruning methods": ("pruning_methods",),
    "Where the sparsity went": ("sparsity_by_role", "sparsity_by_layer"),
    "Sensitivity to sparsity": ("sensitivity",),
    "The search's predictor": ("predictor",),
    "Size, int8 and latency": ("speed_up",),
}
"""Headings in the order of the page, with the figures below each."""
FOLDS = {
    "Pruning methods": "Each method in numbers",
    "Where the sparsity went": "Each role in numbers",
    "Size, int8 and latency": "Each kind of network in numbers",
}
"""The line that opens a section's folded table."""
OPTIONAL_FIGURES = frozenset(name for names in PLACES.values() for name in names)


def optional_sections(frames: Frames, figures: Mapping[str, Rendered]) -> list[Section]:
    """The sections for which the study measured anything."""
    tables = {
        "Pruning methods": method_table(frames),
        "Where the sparsity went": role_table(frames),
        "Size, int8 and latency": deployment_table(frames),
    }
    sections = [
        Section(
            title,
            [figures[name] for name in names if name in figures],
            [Captioned(*tables[title], fold=FOLDS[title])] if title in tables and tables[title][0].rows else [],
        )
        for title, names in PLACES.items()
    ]
    return [section for section in sections if not section.is_empty]
