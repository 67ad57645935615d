"""Tables and lines as Markdown, in which no text of a study is interpreted as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!$&])")


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Sequence[int]) -> str:
    """A table in the Markdown of GitHub and pandoc; an interval follows its number."""
    rule = ["---" if place in text_columns else "---:" for place in range(len(headers))]
    lines = [_row(map(escaped, headers)), _row(rule), *(_row(map(escaped, row)) for row in rows)]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text escaped so that it is shown literally, on one line."""
    return SPECIAL.sub(r"\\\1", re.sub(r"\s*\n\s*", " ", text)).strip()


def _row(cells: Sequence[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"
