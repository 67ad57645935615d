"""The commands in docs/cost_report.md, run on the stored ledgers, print what the document shows."""

import json
import re
import shlex
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "cost_report.md"
BLOCK = re.compile(r"^```console\n\$ prune-or-search ((?:cost|answer|compare) [^\n]+)\n(.*?)^```", re.S | re.M)
"""A command and its output; a line with only ``…`` stands for omitted lines."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the stored studies under ``runs`` and the example prices, named as in the document."""
    folder = tmp_path_factory.mktemp("questions")
    for name in ("cost_demo", "cost_gpu"):
        with tarfile.open(ROOT / "tests" / "golden" / f"{name}.tar.xz") as archive:
            archive.extractall(folder / "runs", filter="data")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def blocks():
    return BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("words", [words for words, _ in blocks()])
def test_the_command_prints_what_the_document_shows(words, place, command, monkeypatch):
    shown = dict(blocks())[words]
    monkeypatch.chdir(place)
    code, out, err = command(*shlex.split(words.split(" | ")[0]))
    assert (code, err) == (0, "")
    parts = [part for text in f"\n{shown}".split("\n…\n") if (part := text.strip("\n"))]
    found = [out.find(part) for part in parts]
    assert -1 not in found, f"{words} prints:\n{out}"
    assert found == sorted(found)
    if "…" not in shown.splitlines():
        assert out.strip("\n") == parts[0]


def test_every_question_has_its_command():
    text = DOCUMENT.read_text(encoding="utf-8")
    questions = re.split(r"^## ", text, flags=re.M)[1:]
    numbered = [question for question in questions if re.match(r"\d+\. ", question)]
    assert len(numbered) == 10
    assert all(BLOCK.search(question) for question in numbered)


@pytest.mark.parametrize("name", ["cost_demo", "cost_gpu"])
def test_the_stored_studies_add_up_however_they_are_divided(name, place, command, monkeypatch):
    """One study was really run, extended and interrupted, with shared work; the other is made up."""
    monkeypatch.chdir(place)
    found = json.loads(command("cost", f"runs/{name}", "--json", "--prices", "examples/prices/cloud_usd.yaml")[1])
    assert found["audit"]["adds_up"]
    (total,) = found["totals"]
    assert found["audit"]["allocated_hours"] == pytest.approx(total["allocated_hours"])
    for key, parts in found["by"].items():
        for figure in ("attempts", "allocated_hours", "productive_hours", "overhead_hours", "lost_hours", "money"):
            assert sum(part[figure] for part in parts) == pytest.approx(total[figure]), (key, figure)
    assert (name == "cost_demo") == (total["lost_hours"] > 0)


def test_the_made_up_study_by_hand(place, command, monkeypatch):
    monkeypatch.chdir(place)
    found = json.loads(
        command("cost", "runs/cost_gpu", "--json", "--prices", "examples/prices/own_machine_eur.yaml")[1]
    )
    kwh = 0.3 * 1.0 + 0.24 * 0.5
    assert found["totals"][0]["money"] == pytest.approx(0.14 * 1.6)
    assert found["energy"]["kwh"] == pytest.approx(kwh)
    assert found["energy"]["unmeasured_hours"] == pytest.approx(0.1)
    assert (found["energy"]["electricity"], found["energy"]["co2e_g"]) == pytest.approx((0.2 * kwh, 281 * kwh))
    assert found["use"]["utilisation"] == pytest.approx(1.6 / 1.8)
