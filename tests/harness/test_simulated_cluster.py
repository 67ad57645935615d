"""The benchmark's simulated cluster in small: the real scheduler, watcher and ledger, and sums that are known."""

import sys
from contextlib import contextmanager

import pytest

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.cost.shares import ledger_h
from accounting.ledger.records import Kind, Status
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from benchmarks.simulate_cluster import POLL_S, Simulation, simulate
from benchmarks.simulated_jobs import Cluster
from harness.scheduling import seams
from reports.answers.find import all_answers
from reports.answers.values import Measured
from reports.data.frames import load_frames

SMALL = Cluster(jobs=80, gpus=7, nodes=3, node_hours=4.0, jobs_per_failure=10)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster") / "study"
    return folder, simulate(folder, SMALL)


def test_every_job_has_one_outcome_whatever_fails(played):
    folder, row = played
    view = derive(read_ledger(folder / "ledger").records)
    assert row["num_jobs"] == len(view.jobs) + row["stopped_by_budget"]
    assert {job.status for job in view.jobs} == {Status.OK}
    assert row["failed workers"] > 0
    assert row["dead nodes"] > 0
    assert row["attempts"] == len(view.attempts) > len(view.jobs)


def test_the_ledger_has_what_the_devices_were_held_for(played):
    folder, _ = played
    records = read_ledger(folder / "ledger").records
    assert [finding for finding in audit(records).findings if finding.severity == "error"] == []
    view = derive(records)
    found = Simulation(StudyFolder(folder.with_name("again")), SMALL)
    found.run()  # the same seed gives the same course
    held_s, num_edges = found.held_s, 2 * len(view.attempts)
    assert ledger_h(view)["cuda"] * 3600 == pytest.approx(held_s, abs=num_edges * POLL_S)
    assert found.end_t == max(r["t"] for r in records if r["kind"] == Kind.SESSION_CLOSED)


def test_it_can_be_answered(played):
    folder, _ = played
    assert all(isinstance(given, Measured) for given in all_answers(load_frames(folder)))


def test_a_row_says_how_far_it_is_from_what_can_be(played):
    _, row = played
    assert row["cluster_h"] >= row["bound_h"]
    assert row["idle_share"] >= 0
    assert row["segments"] == row["attempts"] + 1


class Counted(Simulation):
    """Counts the calls of functions within orchestration; seconds would depend on the machine."""

    num_calls = 0

    @contextmanager
    def _timed(self, what):
        def note(frame, event, given):
            self.num_calls += event in ("call", "c_call")

        if what == "orchestration":
            sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _open(self):
        super()._open()
        self.scheduler._spending._clock = lambda: self.t


def test_orchestration_of_a_job_takes_no_more_work_in_a_larger_study_on_a_larger_cluster(tmp_path, monkeypatch):
    """Jobs follow each other a tenth as closely as with a thousand devices, so readings may be ten times as old."""
    monkeypatch.setattr(seams, "PER_ATTEMPT_S", 10 * seams.PER_ATTEMPT_S)
    per_job = []
    for times in (1, 6):
        found = Counted(StudyFolder(tmp_path / str(times)), Cluster(jobs=100 * times, gpus=10 * times, nodes=2 * times))
        found.run()
        per_job.append(found.num_calls / len(found.plans))
    assert per_job[1] < 1.5 * per_job[0], per_job
