from __future__ import annotations

import json
import os
import shutil
import socket

import pytest

from accounting.ledger.driver_lock import held
from reports.errors import NotAStudy
from reports.status import format_status, status


def test_a_finished_study(study):
    state = json.loads(json.dumps(status(study)))
    assert state["totals"] == {"done": 63, "running": 0, "failed": 0, "interrupted": 0}
    spend = {(row["route"], row["replicate"]): row["spent"] for row in state["spend"]}
    assert spend["prune", 0] == pytest.approx(3.84)  # every attempt once, over both targets
    assert spend["search", 2] == pytest.approx(1.44 + 0.42)
    assert {"target": 500_000, "route": "search", "val_top1": 0.86, "replicate": 0} in state["best"]
    text = format_status(state)
    assert "stopped (done); jobs: 63 done" in text
    assert "spent (CPU core-hours)" in text
    assert "no cap" in text


def test_a_running_study_against_its_budget(make_study):
    state = status(make_study(until_h=3.55, budget={"search": None, "prune": 7.04, "scratch": None}))
    assert state["totals"]["running"] > 0
    text = format_status(state)
    assert "running" in text.splitlines()[0]
    assert "7.04 (50 %)" in text
    assert next(row for row in state["best"] if (row["target"], row["route"]) == (500_000, "prune"))["val_top1"] == 0.82


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
    assert len(state["warnings"]) == 1
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
            assert status(folder)["driver"]["life"] == "alive"

    def test_it_was_killed(self, make_study):
        folder = make_study(until_h=3.55)
        with held(folder / ".lock"):
            pass
        assert "not running: its driver ended without closing the session" in self.first_line(folder)

    def test_it_began_on_another_host(self, make_study):
        folder = make_study(until_h=3.55)
        (folder / ".lock").write_text('{"host": "node7", "pid": 12}')
        assert "whether its driver (process 12 on node7) lives cannot be known" in self.first_line(folder)

    def test_it_closed_its_session_and_another_one_starts(self, study, tmp_path):
        folder = shutil.copytree(study, tmp_path / "copy")
        assert "stopped (done)" in self.first_line(folder)
        with held(folder / ".lock"):
            assert "running (process" in self.first_line(folder)
