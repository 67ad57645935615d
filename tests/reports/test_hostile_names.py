"""Names and reasons of a ledger that attack whoever shows them: a terminal, a browser, a drawing, a table."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
import yaml
from fake_study import PARENT_MACS, build_study

from reports.answers.find import answer
from reports.answers.text import sentence
from reports.page import render
from reports.page.build import build_report
from reports.status.build import status
from reports.status.text import format_status

EVIL = "\x1b[31m\x1b]0;t\x07<script>alert(1)</script>\"'&$x^2$ {{7*7}}\r\nnew\u202eline\u2066\x00\x9b31m\u2028end"
"""Escapes of a terminal, markup, mathematics, a template, line breaks, marks of direction, a null, C1 controls."""
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
TARGET = 500_000


def write_evil(line, r, targets):
    """A route whose name, job, label, reason and description attack."""
    for target in targets:
        line.attempt(f"lost {EVIL}", f"route {EVIL}", "retrain", target, r, 0.1, macs=target, ok=False, n=5)
        line.records[-1][2]["reason"] = f"RuntimeError: {EVIL}"
        outcome = {
            "label": f"label {EVIL}", "description": f"described {EVIL}", "val_top1": 0.8, "test_top1": 0.79,
            "macs": target, "dense_macs": PARENT_MACS, "params": 10, "nonzero_params": 9,
            "model_dir": f"models/{EVIL}", "from_job": f"job {EVIL}",
        }  # fmt: skip
        line.train(f"job {EVIL}", f"route {EVIL}", "retrain", target, r, 0.2, (0.7, 0.8), target)
        line.attempt(f"job {EVIL}-e", f"route {EVIL}", "evaluate", target, r, 0.01, macs=target, outcome=outcome)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = build_study(
        tmp_path_factory.mktemp("hostile"), replicates=2, targets=(TARGET,), more={f"route {EVIL}": write_evil}
    )
    document = yaml.safe_load((folder / "study.yaml").read_text())
    document["study"]["name"] = f"name {EVIL}"
    document["study"]["dataset"] = {"name": f"data {EVIL}", "path": f"/photos/{EVIL}"}
    document["data"] = {"num_classes": 2, "class_names": [f"cat {EVIL}", "dog"]}
    document["environment"] |= {f"key {EVIL}": EVIL, "files": [EVIL]}
    (folder / "study.yaml").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def report(hostile):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "PNG_DPI", 30)
        return build_report(hostile).parent


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.handlers, self.num_scripts = set(), [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.num_scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_a_terminal_gets_nothing_that_it_obeys(hostile):
    for text in (format_status(status(hostile)), sentence(answer(hostile, TARGET)), sentence(answer(hostile, 10**9))):
        assert not HARMFUL.search(text)
    assert "\\x1b[31m" in format_status(status(hostile))
    assert "\n" not in sentence(answer(hostile, TARGET))


def test_every_row_of_the_status_is_one_line(hostile):
    rows = status(hostile).jobs
    assert sum("<script>" in line for line in format_status(status(hostile)).splitlines()) >= len(rows) - 6
    assert not any(line.startswith("new") for line in format_status(status(hostile)).splitlines())


def test_a_browser_runs_nothing_of_it(report):
    text = (report / "index.html").read_text()
    tags = Tags(text)
    assert not {"iframe", "object", "foreignobject"} & tags.found
    assert tags.num_scripts == 1, "the page's own, which the page alone names as allowed"
    assert "script-src 'sha256-" in text
    assert tags.handlers == []
    assert "&lt;script&gt;" in text
    assert not HARMFUL.search(text)
    assert "{{7*7}}" in text or "{{7*7}}" in text.replace("&#34;", '"')


def test_drawings_are_well_formed_and_run_nothing(report):
    for path in (report / "figures").glob("*.svg"):
        tree = ElementTree.parse(path)
        assert not [node for node in tree.iter() if node.tag.endswith("}script")], path.name
        assert not HARMFUL.search(path.read_text(encoding="utf-8")), path.name
    text = (report / "index.html").read_text()
    assert len(re.findall(r'role="img"', text)) >= 4
    assert "image/svg" not in text, "drawings stand in the page itself, where test_a_browser_runs_nothing_of_it looks"


def test_tables_and_answers_hold_no_control_character(report):
    for path in [*(report / "tables").glob("*.csv"), report / "answer.json"]:
        assert not HARMFUL.search(path.read_text(encoding="utf-8")), path.name


def test_the_whole_report_is_told_in_lines_without_breaks(report):
    content = json.loads((report / "answer.json").read_text())
    for told in [content["sentence"], *content["lines"]]:
        assert "\n" not in told
