"""Sessions under several versions of the cost rules are told apart wherever the study is shown; unknown ones are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from full_study import build_full_study

import accounting.ledger.store
from accounting.audit.rules import rules_text
from accounting.ledger.records import VERDICT_RULES, Kind
from accounting.ledger.store import LedgerWriter
from reports.data.frames import load_frames
from reports.page.build import build_report

MIXED = "cost rules 1: session s1, s2 under 2; exports ran inside"
NEWER = '{"kind":"segment_opened","t":1,"rules":99,"session":"s","writer":"w","host":"h","pid":1}\n'


@pytest.fixture
def mixed(tmp_path, monkeypatch):
    """A study that was begun under cost rules 1, with exports, and gone on with under 2."""
    folder = tmp_path / "study"
    folder.mkdir()
    with monkeypatch.context() as then:
        then.setattr(accounting.ledger.store, "COST_RULES", 1)
        build_full_study(folder, replicates=1)
    end = load_frames(folder).view.sessions[0].end_t
    with LedgerWriter(folder / "ledger", "s2", "driver", clock=lambda: end + 200) as ledger:
        ledger.append(Kind.SESSION_OPENED, t=end + 100, session="s2", study="fake", capacity=[], environment={})
        ledger.append(Kind.SESSION_CLOSED, t=end + 200, session="s2", reason="done")
    return folder


def test_audit_status_and_page_name_the_sessions_of_both_versions(mixed, command, sketched):
    code, out, err = command("audit", mixed)
    assert (code, err) == (0, "")
    assert f"warning: {MIXED}" in out
    code, out, err = command("status", mixed)
    assert (code, err) == (0, "")
    assert f"warning: {MIXED}" in out
    text = build_report(mixed).read_text()
    assert MIXED in text
    assert "cannot be told" in text


def test_the_older_sessions_and_their_exports_are_values(mixed):
    found = load_frames(mixed).caveats.older_rules
    assert (found.old, found.newer, found.unit) == (("s1",), ("s2",), "cpu_core_hours")
    assert found.num_exports > 0
    assert found.hours > 0


def test_the_page_and_the_answers_name_the_rules(mixed, command, sketched):
    page = build_report(mixed)
    facts = dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', page.read_text(), re.DOTALL))
    assert facts["cost rules"] == "1 (s1), 2 (s2)"
    assert facts["verdict rules"] == str(VERDICT_RULES)
    content = json.loads((page.parent / "answer.json").read_text())
    assert content["verdict_rules"] == VERDICT_RULES
    assert {given["verdict_rules"] for given in content["answers"]} == {VERDICT_RULES}
    out = command("answer", mixed, "--macs", "0.5M", "--json")[1]
    assert json.loads(out)["verdict_rules"] == VERDICT_RULES


def test_a_study_under_one_version_says_only_which(study):
    frames = load_frames(study)
    assert frames.cost_rules == {"s1": 2}
    assert rules_text(frames.cost_rules) == "2"
    assert frames.caveats.older_rules is None


@pytest.mark.parametrize("words", [["status"], ["report"], ["answer", "--macs", "0.5M"], ["audit"]], ids=lambda w: w[0])
def test_an_unknown_newer_version_is_one_line_and_exit_2(words, make_study, command, snapshot):
    folder: Path = make_study(replicates=1)
    (folder / "ledger" / "zz.jsonl").write_text(NEWER)
    before = snapshot(folder)
    code, out, err = command(words[0], folder, *words[1:])
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "zz.jsonl:1: cost rules 99, this program knows 1 to 2" in err
    assert snapshot(folder) == before
