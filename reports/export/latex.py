"""A table for a paper: LaTeX with booktabs, in a form that a document can include."""

from __future__ import annotations

import re
from collections.abc import Sequence

ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "×": r"$\times$", "÷": r"$\div$", "±": r"$\pm$", "−": r"$-$", "–": r"--", "≤": r"$\leq$", "’": "'", "“": "``", "”": "''",
    "…": r"\dots{}", "\u00a0": "~",
}  # fmt: skip
"""Characters that LaTeX would interpret or an old engine does not know; other non-ASCII is left to the engine."""


def latex_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Sequence[int], caption: str, label: str
) -> str:
    """A ``table`` with caption and label; numbers are right-aligned, and an interval follows its number."""
    columns = "".join("l" if place in text_columns else "r" for place in range(len(headers)))
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption)}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        f"    {_row(headers)}",
        r"    \midrule",
    ]
    before = None
    for row in rows:
        if before is not None and row[0] != before:
            lines.append(r"    \addlinespace")
        before = row[0]
        lines.append(f"    {_row(row)}")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""])


def escaped(text: str) -> str:
    """Text escaped so that LaTeX prints it literally, on one line."""
    return "".join(ESCAPES.get(letter, letter) for letter in re.sub(r"\s*\n\s*", " ", text))


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"
