"""Sections that a page has only where a study measured something for them: pruning methods, sparsity, predictor, int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.data.frames import Frames
from reports.page.optional_tables import deployment_table, method_table, role_table
from reports.page.page_table import PageTable

if TYPE_CHECKING:  # it imports Matplotlib
    from reports.page.render import Rendered

PLACES = {
    "Pruning methods": ("pruning_methods",),
    "Where the sparsity went": ("sparsity_by_role", "sparsity_by_layer"),
    "Sensitivity to sparsity": ("sensitivity",),
    "The search's predictor": ("predictor",),
    "Size, int8 and latency": ("speed_up",),
}
"""Headings, in the order of the page, and the figures below each."""
OPTIONAL_FIGURES = frozenset(name for names in PLACES.values() for name in names)


@dataclass(frozen=True)
class Section:
    """A heading with its figures, and a table (without rows where there is none) with its caption."""

    title: str
    figures: Sequence[Rendered]
    table: PageTable
    caption: str


def optional_sections(frames: Frames, figures: Mapping[str, Rendered]) -> list[Section]:
    """The sections of which the study measured anything."""
    tables = {
        "Pruning methods": method_table(frames),
        "Where the sparsity went": role_table(frames),
        "Size, int8 and latency": deployment_table(frames),
    }
    sections = []
    for title, names in PLACES.items():
        table, caption = tables.get(title, (PageTable([], []), ""))
        shown = [figures[name] for name in names if name in figures]
        if shown or table.rows:
            sections.append(Section(title, shown, table, caption))
    return sections
