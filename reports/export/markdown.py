"""Tables and lines as Markdown, in which no word of a study is obeyed as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!$&])")


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Sequence[int]) -> str:
    """As GitHub and pandoc read it; an interval follows its number."""
    rule = ["---" if place in text_columns else "---:" for place in range(len(headers))]
    lines = [_row(map(escaped, headers)), _row(rule), *(_row(map(escaped, row)) for row in rows)]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Words as they are, on one line."""
    return SPECIAL.sub(r"\\\1", re.sub(r"\s*\n\s*", " ", text)).strip()


def _row(cells: Sequence[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"
