"""A candidate is stopped by its budget: the network is delivered, and a larger budget continues from the checkpoint."""

import copy

import pytest
from inline_runs import models, records, run

from accounting.audit.audit import audit
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.console.events import Narrator
from harness.scheduling.scheduler import Scheduler
from reports.status.build import status
from reports.status.text import format_status

WHY = "the route's budget cannot pay for more of it"


@pytest.fixture
def config(tiny):
    """A search alone, of three candidates of two epochs, with a budget."""
    given = copy.deepcopy(tiny)
    given["targets"] = ["0.6M"]
    given["routes"] = {"search": {**given["routes"]["search"], "candidate": {"epochs": 2}}}
    given["budget"] = {"search": "1 h"}
    return given


@pytest.fixture
def stopping(monkeypatch):
    """The last of the candidates is to be stopped, whatever it has cost; the clock of a test says nothing."""

    def to_stop(self):
        names = [name for found in self._out.by_route().values() for name in found.jobs]
        return {name: WHY for name in names if name.startswith("search") and "002" in name}

    monkeypatch.setattr(Scheduler, "to_stop", to_stop)


def stops_of(folder):
    return [
        (r["attempt"].partition("#")[0], r["reason"]) for r in records(folder, Kind.ATTEMPT_ENDED) if r.get("stopped")
    ]


def test_the_stop_is_on_record_the_rest_is_delivered_and_a_larger_budget_goes_on(
    config, stopping, tmp_path, monkeypatch
):
    folder = tmp_path / "study"
    run(config, folder)
    [(job, reason)] = stops_of(folder)
    assert reason == f"stopped after epoch 1 of 2: {WHY}"
    assert [record["job"] for record in records(folder, Kind.JOB_STOPPED)] == [job]
    assert len(models(folder)) == 1
    assert audit(read_ledger(folder / "ledger").records).findings == ()
    said = f"{job} was {reason}; what it has trained is kept, and a larger budget continues from there."
    assert said in format_status(status(folder))
    assert said in (folder / "report" / "index.html").read_text(encoding="utf-8").replace("&#39;", "'")
    events = [event.text for event in Narrator([]).tell(read_ledger(folder / "ledger").records)]
    assert f"{job} was {reason}" in events
    assert not [text for text in events if text.startswith("failed")]

    before = len(records(folder, Kind.ATTEMPT_STARTED))
    run(config, folder)  # the same budget: nothing is run
    assert len(records(folder, Kind.ATTEMPT_STARTED)) == before

    monkeypatch.undo()
    config["budget"] = {"search": "2 h"}
    run(config, folder)
    begun = [r["epoch"] for r in records(folder, Kind.WORK_BEGUN) if r["attempt"].startswith(f"{job}#")]
    assert begun == [0, 1]
    assert audit(read_ledger(folder / "ledger").records).findings == ()
