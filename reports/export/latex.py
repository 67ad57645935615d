"""A table for a paper: LaTeX with booktabs, in a form that a document can include.

Long headers and texts are broken into lines, and an interval stands below its number. A table that is still wider than
the line of text is scaled down to its width.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "×": r"$\times$", "÷": r"$\div$", "±": r"$\pm$", "−": r"$-$", "–": r"--", "≤": r"$\leq$", "’": "'", "“": "``", "”": "''",
    "…": r"\dots{}", "\u00a0": "~",
}  # fmt: skip
"""Characters that LaTeX would interpret or an old engine does not know; other non-ASCII is left to the engine."""
HEADER_LETTERS = 12
TEXT_LETTERS = 24
"""The longest lines of headers and of texts; a longer word has a line of its own."""


def latex_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Sequence[int], caption: str, label: str
) -> str:
    """A ``table`` with caption and label; numbers are right-aligned."""
    sides = ["l" if place in text_columns else "r" for place in range(len(headers))]
    titles = [_cell(_wrapped(header, HEADER_LETTERS), f"b{side}") for header, side in zip(headers, sides, strict=True)]
    lines = [
        r"% needs \usepackage{booktabs,graphicx,makecell}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption)}}}",
        rf"  \label{{{label}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{''.join(sides)}}}",
        r"    \toprule",
        f"    {_row(titles)}",
        r"    \midrule",
    ]
    before = None
    for row in rows:
        if before is not None and row[0] != before:
            lines.append(r"    \addlinespace")
        before = row[0]
        cells = [
            _cell(_wrapped(cell, TEXT_LETTERS) if side == "l" else cell.split("\n"), f"t{side}")
            for cell, side in zip(row, sides, strict=True)
        ]
        lines.append(f"    {_row(cells)}")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}", ""])


def escaped(text: str) -> str:
    """Text escaped so that LaTeX prints it literally, on one line."""
    return "".join(ESCAPES.get(letter, letter) for letter in re.sub(r"\s*\n\s*", " ", text))


def _wrapped(text: str, letters: int) -> list[str]:
    return textwrap.wrap(text, letters, break_long_words=False, break_on_hyphens=False) or [""]


def _cell(lines: Sequence[str], place: str) -> str:
    """A cell of one line, or of several in a ``makecell`` at ``place``: ``tl`` is top left, ``br`` bottom right.

    A bracket or star at the beginning would be read as part of the line break before it.
    """
    texts = [f"{{{text[0]}}}{text[1:]}" if text.startswith(("[", "*")) else text for text in map(escaped, lines)]
    if len(texts) == 1:
        return texts[0]
    inside = r" \\ ".join(texts)
    return rf"\makecell[{place}]{{{inside}}}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
