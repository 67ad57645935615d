from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket

import pytest

from accounting.ledger.driver_lock import Life, held
from accounting.ledger.undelivered import Undelivered
from reports.data.repeated import RunAgain
from reports.errors import NotAStudy
from reports.status.as_json import as_json
from reports.status.build import status
from reports.status.text import format_status


def test_a_finished_study(study):
    state = json.loads(json.dumps(as_json(status(study))))
    assert state["totals"] == {"done": 63, "running": 0, "failed": 0, "interrupted": 0}
    spend = {(row["route"], row["replicate"]): row["spent"] for row in state["spend"]}
    assert spend["prune", 0] == pytest.approx(3.84)  # every attempt once, over both targets
    assert spend["search", 2] == pytest.approx(1.44 + 0.42)
    assert {"target": 500_000, "route": "search", "val_top1": 0.86, "replicate": 0} in state["best"]
    text = format_status(status(study))
    assert "stopped (done); jobs: 63 done" in text
    assert "spent (CPU core-hours)" in text
    assert "no cap" in text


def test_as_json_has_its_keys_in_order(make_study):
    """Scripts read them; what people read in sentences is in sentences here, too."""
    left = Undelivered("prune", "prune", 500_000, 0, spent_h=2.0, budget_h=1.5, needs_h=None, budget_needed_h=None)
    state = status(make_study(replicates=1, budget={"search": None, "prune": 7.04}))
    told = as_json(dataclasses.replace(state, undelivered=(left,), repeated=(RunAgain("job", "it was cut"),)))
    assert list(told) == [
        "study", "rehearsal", "unit", "session", "driver", "jobs", "totals", "spend", "uncharged", "allocated", "best",
        "undelivered", "repeated", "warnings",
    ]  # fmt: skip
    assert list(told["jobs"][0]) == ["route", "phase", "done", "running", "failed", "interrupted"]
    assert told["session"] == {"closed": True, "reason": "done"}
    assert list(told["driver"]) == ["life", "host", "pid"]
    assert {row["route"]: row["budget"] for row in told["spend"]} == {"prune": 7.04, "search": None, "scratch": None}
    assert told["undelivered"][0].startswith("prune at 0.5M MACs, replicate 0, was not delivered: the budget of prune")
    assert told["repeated"] == ["job was run again, which is in the bill as lost work: it was cut."]
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_a_running_study_against_its_budget(make_study):
    folder = make_study(until_h=3.55, budget={"search": None, "prune": 7.04, "scratch": None})
    with held(folder / ".lock"):
        state = status(folder)
    assert state.totals["running"] > 0
    text = format_status(state)
    assert "running" in text.splitlines()[0]
    assert "7.04 (50 %)" in text
    assert next(row for row in state.best if (row.target, row.route) == (500_000, "prune")).val_top1 == 0.82


def test_a_study_that_has_just_begun(make_study):
    text = format_status(status(make_study(until_h=0)))
    assert "jobs: 0 done" in text


def test_a_study_without_a_session(make_study):
    folder = make_study(replicates=1)
    segment = next((folder / "ledger").glob("*.jsonl"))
    segment.write_text("")
    assert format_status(status(folder)).splitlines()[0] == "fake: never run; jobs: 0 done"


def test_a_torn_line_is_a_warning(make_study):
    folder = make_study(replicates=1)
    with next((folder / "ledger").glob("*.jsonl")).open("a") as segment:
        segment.write('{"kind": "heartb')
    state = status(folder)
    assert len(state.caveats.damage) == 1
    assert "warning: " in format_status(state)


def test_not_a_study(tmp_path):
    with pytest.raises(NotAStudy):
        status(tmp_path)


class TestDriver:
    """Whether the driver of a study lives."""

    def first_line(self, folder):
        return format_status(status(folder)).splitlines()[0]

    def test_it_lives(self, make_study):
        folder = make_study(until_h=3.55)
        with held(folder / ".lock"):
            assert f"running (process {os.getpid()} on {socket.gethostname()})" in self.first_line(folder)
            assert status(folder).driver.life is Life.ALIVE

    def test_it_was_killed(self, make_study):
        folder = make_study(until_h=3.55)
        with held(folder / ".lock"):
            pass
        assert "not running: its driver ended without closing the session" in self.first_line(folder)

    def test_jobs_end_with_a_driver_that_was_killed(self, make_study):
        folder = make_study(until_h=3.55)
        with held(folder / ".lock"):
            alive = status(folder).totals
        killed = status(folder).totals
        assert alive["running"] > 0
        assert killed == alive | {"running": 0, "interrupted": alive["interrupted"] + alive["running"]}

    def test_it_began_on_another_host(self, make_study):
        folder = make_study(until_h=3.55)
        (folder / ".lock").write_text('{"host": "node7", "pid": 12}')
        assert "whether its driver (process 12 on node7) lives cannot be known" in self.first_line(folder)

    def test_it_closed_its_session_and_another_one_starts(self, study, tmp_path):
        folder = shutil.copytree(study, tmp_path / "copy")
        assert "stopped (done)" in self.first_line(folder)
        with held(folder / ".lock"):
            assert "running (process" in self.first_line(folder)
