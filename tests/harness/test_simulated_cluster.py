"""The benchmark's simulated cluster in small: the real scheduler, watcher and ledger, and sums that are known."""

import pytest

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.cost.shares import ledger_h
from accounting.ledger.records import Kind, Status
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from benchmarks.simulate_cluster import POLL_S, Simulation, simulate
from benchmarks.simulated_jobs import Cluster
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
