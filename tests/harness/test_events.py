"""What a run shows: one line per event without a terminal, a bar on one, JSON objects for machines."""

import json
import re
import shutil

import pytest
from rich.console import Console

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_ledger
from harness.console.events import Narrator
from harness.console.progress import Lines, OnConsole, Silent, choose_progress


def narrated(study):
    return list(Narrator([]).tell(list(read_ledger(study / "ledger").records)))


def test_every_record_worth_telling_is_told_once(tiny_study):
    records = list(read_ledger(tiny_study / "ledger").records)
    narrator = Narrator([])
    first, second = list(narrator.tell(records[:30])), list(narrator.tell(records))
    assert [e.line for e in (*first, *second)] == [e.line for e in narrated(tiny_study)]
    assert list(narrator.tell(records)) == []


def test_a_study_is_told_from_its_begin_to_its_end(tiny_study):
    events = narrated(tiny_study)
    names = [event.name for event in events if not event.is_detail]
    assert (names[0], names[-1]) == ("session_begun", "session_ended")
    assert names.count("started") == names.count("finished") == 24
    assert names.count("delivered") == 8
    assert "24 jobs done, 0 failed" in events[-1].text
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [a-z]", event.line) for event in events)


def test_an_accuracy_is_told_in_percent(tiny_study):
    finished = next(event for event in narrated(tiny_study) if event.name == "finished")
    assert re.search(r"validation top-1 \d+\.\d %", finished.text)


def test_a_second_attempt_is_a_retry_and_a_failed_one_says_why():
    base = {"route": "prune", "phase": "prune", "target": None, "replicate": 0, "spec": {}, "segment": "s"}
    records = [
        {"kind": "attempt_started", "t": 1.0, "attempt": "a", "job": "j", "line": 1, **base},
        {"kind": "attempt_ended", "t": 2.0, "attempt": "a", "status": "failed", "reason": "no\x1b[31m disk",
         "outcome": None, "segment": "s", "line": 2},
        {"kind": "attempt_started", "t": 3.0, "attempt": "b", "job": "j", "line": 3, **base},
        {"kind": "attempt_lost", "t": 3.5, "session": "s", "job": "j", "reason": "no\x1b[31m memory",
         "segment": "s", "line": 4},
        {"kind": "job_abandoned", "t": 4.0, "job": "j", "reason": "no disk", "segment": "s", "line": 5},
    ]  # fmt: skip
    lines = [event.line.partition(" ")[2] for event in Narrator([]).tell(records)]
    assert lines == [
        "started j",
        "failed j: no\\x1b[31m disk",
        "retried (attempt 2) j",
        "lost j: no\\x1b[31m memory",
        "given up j: no disk",
    ]


class TestOutput:
    @pytest.fixture
    def grown(self, tiny_study, tmp_path):
        """A function that shows a study whose ledger appears only while it is being shown."""

        def show(progress):
            folder = tmp_path / "study"
            with progress.shown(folder):
                shutil.copytree(tiny_study, folder, ignore=shutil.ignore_patterns("checkpoints", "models"))

        return show

    def test_lines(self, grown, capsys):
        grown(Lines())
        out = capsys.readouterr().out
        assert out.count("\n") == out.count("Z ") == 1 + 24 + 24 + 8 + 1
        assert "\x1b" not in out

    def test_json_lines(self, grown, capsys):
        grown(Lines(as_json=True))
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {"t", "event"} <= set.intersection(*(set(event) for event in events))
        delivered = [event for event in events if event["event"] == "delivered"]
        assert {(e["label"], e["target"]) for e in delivered} >= {("prune", 400_000), ("search", 600_000)}
        assert all(0 <= event["test_top1"] <= 1 for event in delivered)

    def test_more_is_told_where_asked_for(self, grown, capsys):
        grown(Lines(verbose=True))
        assert "epoch 1 of 2 of prune-r0-pretrain" in capsys.readouterr().out

    def test_a_terminal_gets_a_bar_and_the_events(self, grown):
        console = Console(record=True, width=100, force_terminal=True, file=__import__("io").StringIO())
        grown(OnConsole(console))
        text = console.export_text()
        assert "delivered prune" in text
        assert "24 jobs done" in text
        assert "spent (CPU core-hours): prune" in text

    @pytest.mark.parametrize("width", [1, 20, 79])
    def test_a_narrow_terminal_gets_a_short_bar(self, width, tiny_study):
        import time

        from accounting.cost.attempts import derive
        from harness.console.bar import bar_text

        view = derive(read_ledger(tiny_study / "ledger").records)
        assert all(len(line) <= width for line in bar_text(view, None, time.time(), width, tiny_study).splitlines())

    def test_a_folder_that_cannot_be_read_does_not_stop_the_study(self, tmp_path, caplog):
        with Lines().shown(tmp_path):
            (tmp_path / "ledger").mkdir()
            (tmp_path / "ledger" / "a.jsonl").write_text("{\n{\n{\n")
        assert "progress cannot be shown" in caplog.text

    def test_silence(self, grown, capsys):
        grown(Silent())
        assert capsys.readouterr() == ("", "")


def test_what_suits_the_output_is_chosen(monkeypatch):
    kinds = [type(choose_progress(as_json=j, quiet=q, verbose=False)) for j, q in ((1, 0), (0, 1), (0, 0))]
    assert kinds == [Lines, Silent, Lines]
    monkeypatch.setattr("harness.console.terminal.can_redraw", lambda: True)
    assert isinstance(choose_progress(as_json=False, quiet=False, verbose=False), OnConsole)


def test_a_job_given_up_before_it_began_has_failed(tmp_path):
    with LedgerWriter(tmp_path / "ledger", "s", "driver") as ledger:
        ledger.append(Kind.SESSION_OPENED, session="s", study="x", capacity=[], environment={})
        for _ in range(3):
            ledger.append(Kind.ATTEMPT_LOST, session="s", job="j", reason="its worker died while it started")
        ledger.append(Kind.JOB_ABANDONED, session="s", job="j", reason="its worker died while it started", final=False)
        ledger.append(Kind.SESSION_CLOSED, session="s", reason="finished")
    last = narrated(tmp_path)[-1]
    assert last.facts["failed"] == 1
    assert "0 jobs done, 1 failed" in last.text
