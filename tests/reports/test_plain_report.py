"""The report as Markdown and LaTeX has the same tables, and no text of a study acts as markup."""

from __future__ import annotations

import re

import pytest

from reports.answers.whole import WholeAnswer
from reports.export.latex import escaped as latex
from reports.export.latex import latex_table
from reports.export.markdown import escaped as markdown
from reports.export.markdown import markdown_table
from reports.page.content import page_content
from reports.page.plain_report import markdown_report, write_latex
from reports.page.render import Rendered


@pytest.fixture(scope="module")
def content(frames):
    figure = Rendered(
        "anytime", "Cost", "How to read it.", "what it shows", "<svg></svg>", png_link="figures/anytime.png"
    )
    return page_content(WholeAnswer(frames), {"anytime": figure})


def test_latex_obeys_no_word():
    assert latex("50 % & more_of $x^2$ {a}\\b #1 ~") == (
        r"50 \% \& more\_of \$x\textasciicircum{}2\$ \{a\}\textbackslash{}b \#1 \textasciitilde{}"
    )
    assert latex("2.0\n(1.0 to 3.0)") == "2.0 (1.0 to 3.0)"
    assert latex("a|b <c>") == r"a\textbar{}b \textless{}c\textgreater{}"


def test_a_latex_table_by_hand():
    text = latex_table(["target", "by"], [["1", "a_b"], ["1", "c"], ["2", "d"]], (1,), "100 %", "tab:x")
    assert text.splitlines()[6:] == [
        r"  \begin{tabular}{rl}", r"    \toprule", r"    target & by \\", r"    \midrule", r"    1 & a\_b \\",
        r"    1 & c \\", r"    \addlinespace", r"    2 & d \\", r"    \bottomrule", r"  \end{tabular}}", r"\end{table}",
    ]  # fmt: skip
    assert r"\caption{100 \%}" in text


def test_long_headers_and_texts_of_latex_are_broken_into_lines():
    text = latex_table(
        ["hours to reach a*", "by"], [["2.0\n(1.0 to 3.0)", "small network that was trained & kept"]], (1,), "c", "t"
    )
    assert r"    \makecell[br]{hours to \\ reach a*} & by \\" in text.splitlines()
    (row,) = (line for line in text.splitlines() if "1.0 to 3.0" in line)
    assert row == (
        r"    \makecell[tr]{2.0 \\ (1.0 to 3.0)} & \makecell[tl]{small network that was \\ trained \& kept} \\"
    )


def test_a_text_of_latex_starts_no_option_in_a_broken_cell():
    """LaTeX would read an opening bracket after a line break as the length of that break."""
    text = latex_table(["x", "y"], [["1\n[0, 2]", "a [b"]], (), "c", "t")
    assert r"\makecell[tr]{1 \\ {[}0, 2]} & a [b \\" in text
    text = latex_table(["x", "y"], [["1\n*", "*a"]], (), "c", "t")
    assert r"\makecell[tr]{1 \\ {*}} & {*}a \\" in text


def test_markdown_obeys_no_word():
    assert markdown("a|b *c* [d](e) <f> `g` _h_ #") == r"a\|b \*c\* \[d\](e) \<f\> \`g\` \_h\_ \#"
    table = markdown_table(["one", "two"], [["1\n(0 to 2)", "x|y"]], (1,))
    assert table == "| one | two |\n| ---: | --- |\n| 1 (0 to 2) | x\\|y |"


def test_the_markdown_says_what_the_page_says(content):
    text = markdown_report(content)
    assert text.startswith(f"# {markdown(content.headline)}\n")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings == [markdown(section.title) for section in content.sections]
    assert "![what it shows](figures/anytime.png)" in text
    assert "| 0.5M | search | " in text
    widths = {line.count("|") - line.count(r"\|") for line in text.splitlines() if line.startswith("| 0.5M")}
    assert len(widths) == 1


def test_latex_has_the_verdict_and_the_networks(content, tmp_path):
    write_latex(content, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"verdict.tex", "networks.tex"}
    verdict = (tmp_path / "verdict.tex").read_text()
    assert sum(line.endswith(r" \\") for line in verdict.splitlines()) == 1 + len(
        content.sections[1].tables[0].table.rows
    )
    assert r"small network trained \\ directly" in verdict
    for text in (verdict, (tmp_path / "networks.tex").read_text()):
        assert not re.search(r"(?<!\\)[%&_#]", re.sub(r"^% needs.*$|\{%$| & |tab:\w+", "", text, flags=re.M))
