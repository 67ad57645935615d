"""One tiny study on Ray Tune by the real command, killed in the middle without warning, and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger

GRACE_S = 20.0
"""How long a process that Ray started may outlive its driver."""


def launch(config, folder, root, log):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "harness.cli", "run", str(config), "--out", str(folder)],
            stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder.parent, start_new_session=True,
        )  # fmt: skip


def kinds(folder):
    if not (folder / "ledger").exists():
        return Counter()
    return Counter(record["kind"] for record in read_ledger(folder / "ledger").records)


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory, request, tiny_text):
    """(folder, time of the kill, session killed, what the second run printed, seconds it took)."""
    root = tmp_path_factory.mktemp("tune")
    folder, log = root / "tiny", root / "log.txt"
    (root / "tiny.yaml").write_text(tiny_text)
    first = launch(root / "tiny.yaml", folder, request.config.rootpath, log)
    deadline = time.time() + 240
    while (seen := kinds(folder))[Kind.ATTEMPT_ENDED] < 3 or not seen[Kind.PROGRESS]:
        assert first.poll() is None, log.read_text()
        assert time.time() < deadline, (seen, log.read_text())
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    killed_t = time.time()
    (session,) = {r["session"] for r in read_ledger(folder / "ledger").records if r["kind"] == Kind.SESSION_OPENED}
    second = launch(root / "tiny.yaml", folder, request.config.rootpath, log)
    try:
        code = second.wait(timeout=200)
    finally:
        if second.poll() is None:
            os.killpg(second.pid, signal.SIGKILL)
    assert code == 0, log.read_text()
    return folder, killed_t, session, log.read_text()


@pytest.fixture
def folder(killed_and_resumed):
    return killed_and_resumed[0]


@pytest.fixture
def view(folder):
    return derive(read_ledger(folder / "ledger").records)


pytestmark = pytest.mark.timeout(400)


def test_it_was_cut_short_in_the_middle(killed_and_resumed, view):
    _, _, killed, _ = killed_and_resumed
    by_session = Counter(attempt.session for attempt in view.attempts)
    assert len(by_session) == 2
    assert 3 <= by_session[killed] < 24
    first = next(session for session in view.sessions if session.session == killed)
    assert not first.closed


def test_every_job_has_exactly_one_ok_outcome(folder, view):
    assert len(view.jobs) == 24
    assert all(job.status == "ok" for job in view.jobs)
    ended = [r for r in read_ledger(folder / "ledger").records if r["kind"] == Kind.ATTEMPT_ENDED]
    ok = Counter(record["attempt"].split("#")[0] for record in ended if record["status"] == "ok")
    assert set(ok.values()) == {1}
    assert len(ok) == 24


def test_every_attempt_is_in_the_ledger_once_with_its_cost(folder, view):
    started = Counter(r["attempt"] for r in read_ledger(folder / "ledger").records if r["kind"] == Kind.ATTEMPT_STARTED)
    assert set(started.values()) == {1}
    assert {attempt.attempt for attempt in view.attempts} == set(started)
    for attempt in view.attempts:
        assert attempt.allocated_s > 0
        assert attempt.productive_s + attempt.overhead_s + attempt.lost_s == pytest.approx(attempt.allocated_s)
        # Whether the kill fell into an attempt or between two is a matter of milliseconds; what it cut short is not kept.
        assert attempt.status != "lost" or attempt.outcome is None


def test_placement_groups_say_what_was_held(view):
    assert all(attempt.allocation for attempt in view.attempts)
    assert view.unit == "cpu_core_hours"
    assert not [a for a in view.attempts if "outside_allocation" in a.flags]


def test_the_samplers_name_who_was_at_work(folder, view):
    beats = [r for r in read_ledger(folder / "ledger").records if r["kind"] == Kind.NODE_BEAT]
    sessions = [session.session for session in view.sessions]
    assert (
        sessions[-1] in {beat["session"] for beat in beats} <= set(sessions)
    )  # the first may be killed before it has one
    assert {name for beat in beats for name in beat["attempts"]} <= {attempt.attempt for attempt in view.attempts}
    assert not (folder / ".beats").exists()


def test_the_ledger_adds_up(folder):
    found = audit(read_ledger(folder / "ledger").records)
    assert found.ok, found.findings
    for balance in found.balances:
        assert balance.allocated_s + balance.idle_s == pytest.approx(balance.capacity_s, rel=0.01)


def test_the_networks_are_those_of_an_undisturbed_run_in_one_process(folder, tiny_study):
    def networks(root):
        return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("models/*/*/*/metrics.json")}

    assert networks(folder) == networks(tiny_study)
    assert len(networks(folder)) == 8


def test_nothing_of_the_killed_driver_writes_any_more(killed_and_resumed, folder):
    _, killed_t, killed, _ = killed_and_resumed
    records = read_ledger(folder / "ledger").records
    segments = {r["segment"] for r in records if r["kind"] == Kind.SEGMENT_OPENED and r["session"] == killed}
    assert max(r["t"] for r in records if r["segment"] in segments) < killed_t + GRACE_S
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    time.sleep(3)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_it_says_what_came_out_and_where(killed_and_resumed, folder):
    log = killed_and_resumed[3]
    assert "Traceback" not in log
    assert f"report: {folder.resolve() / 'report' / 'index.html'}" in log
    assert "At 0.6M MACs" in log
    answer = json.loads((folder / "report" / "answer.json").read_text())
    assert [a["status"] for a in answer["answers"]] == ["measured", "measured"]
    assert not (folder / ".tune").exists()


def test_status_afterwards_is_all_done(folder):
    from reports.status.build import status

    state = status(folder)
    assert state.totals["done"] == 24
    assert (state.session.closed, state.session.reason) == (True, "done")
