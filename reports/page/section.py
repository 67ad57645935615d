"""A section of a page: a heading with figures, tables and lines of text below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.page.page_table import PageTable

if TYPE_CHECKING:  # imports Matplotlib
    from reports.page.render import Rendered


@dataclass(frozen=True)
class Captioned:
    """A table with its caption; with ``fold``, it is hidden behind that line until opened."""

    table: PageTable
    caption: str = ""
    fold: str = ""


@dataclass(frozen=True)
class Section:
    """One section. ``folds`` are lines of text behind a line that opens them; ``warnings`` are highlighted."""

    title: str
    figures: Sequence[Rendered] = ()
    tables: Sequence[Captioned] = ()
    lines: Sequence[str] = ()
    folds: Sequence[tuple[str, Sequence[str]]] = ()
    warnings: Sequence[str] = ()
    preformatted: Sequence[tuple[str, str]] = ()
    """(line that opens it, text) of each preformatted block."""

    @property
    def id(self) -> str:
        """The anchor for links to it."""
        return re.sub("[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing below its heading."""
        return not (self.figures or self.lines or self.folds or self.warnings or self._has_rows or self.preformatted)

    @property
    def _has_rows(self) -> bool:
        return any(captioned.table.rows for captioned in self.tables)
