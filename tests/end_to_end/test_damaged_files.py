"""A study on Ray Tune dies whole, what its jobs have left is damaged, and the same command makes it again and says so."""

import html
import os
import re
import signal
import time
from collections import Counter
from contextlib import suppress

import pytest
import yaml
from inline_runs import SMALL, metrics, models, records, run
from processes import tree
from test_tune_study import launch

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from reports.sentences.repeated import repeated_sentence
from reports.status.build import status

pytestmark = pytest.mark.timeout(400)
PRETRAIN, PRUNE = "prune-r0-pretrain", "prune-r0-t600000-global_magnitude-prune"
TUNE = "prune-r0-t600000-global_magnitude-finetune"


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory, request, tiny_text):
    """(config, folder, what the second run printed): killed in the last training, all its processes at once, and damaged."""
    root = tmp_path_factory.mktemp("damaged")
    config, folder = yaml.safe_load(tiny_text) | SMALL, root / "study"
    config["routes"] = {"prune": {"finetune": {"epochs": 10, "lr": 0.05}}}
    (root / "study.yaml").write_text(yaml.safe_dump(config))
    left = folder / "checkpoints"
    first = launch(root / "study.yaml", folder, request.config.rootpath, root / "first.txt")
    deadline = time.time() + 240
    while not (left / TUNE / "resume.pt").exists():
        assert first.poll() is None, (root / "first.txt").read_text()
        assert time.time() < deadline, (root / "first.txt").read_text()
        time.sleep(0.01)
    for pid in reversed(tree(first.pid)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    first.wait()
    flip(left / PRETRAIN / "weights.safetensors")
    cut(left / PRUNE / "weights.safetensors")
    flip(left / TUNE / "resume.pt")
    second = launch(root / "study.yaml", folder, request.config.rootpath, root / "second.txt")
    try:
        code = second.wait(timeout=200)
    finally:
        if second.poll() is None:
            os.killpg(second.pid, signal.SIGKILL)
    said = (root / "second.txt").read_text()
    assert code == 0, said
    return config, folder, said


def test_what_is_damaged_is_made_again_and_nothing_else(resumed):
    _, folder, _ = resumed
    started = records(folder, Kind.ATTEMPT_STARTED)
    again = {record["job"]: record["again"] for record in started if "again" in record}
    assert again == {PRETRAIN: "changed weights (damaged, or those of another network)",
                     PRUNE: "changed weights (damaged, or those of another network)"}  # fmt: skip
    assert Counter(record["job"] for record in started if "again" not in record)[TUNE] == 2
    assert len(started) == 7


def test_it_is_repeated_work_in_the_bill_and_the_ledger_adds_up(resumed):
    _, folder, _ = resumed
    ledger = read_ledger(folder / "ledger")
    found = audit(ledger.records, ledger.findings)
    assert found.ok, found.findings
    view = derive(ledger.records)
    repeated = [attempt for attempt in view.attempts if "repeated" in attempt.flags]
    assert [attempt.job for attempt in repeated] == [PRETRAIN, PRUNE]
    assert all(attempt.lost_s == pytest.approx(attempt.allocated_s) for attempt in repeated)
    assert all(job.status == "ok" for job in view.jobs)


def test_it_says_what_is_made_again_and_why(resumed):
    said = resumed[2]
    assert f"{TUNE} cannot begin: changed weights" in said
    assert f"{PRETRAIN} is run again, which is in the bill as lost work" in said
    assert "Traceback" not in said


def test_a_state_that_cannot_be_trusted_is_dropped_and_the_training_begins_at_its_start(resumed):
    _, folder, _ = resumed
    attempts = [r["attempt"] for r in records(folder, Kind.ATTEMPT_STARTED) if r["job"] == TUNE]
    begun = {record["attempt"]: record["epoch"] for record in records(folder, Kind.WORK_BEGUN)}
    assert [begun[attempt] for attempt in attempts] == [0, 0]


def test_status_and_page_say_what_was_done_twice_and_why(resumed):
    _, folder, _ = resumed
    said = [repeated_sentence(work) for work in status(folder).repeated]
    [tuned] = [line for line in said if TUNE in line]
    assert re.match(r"(\d epochs? (was|were)|An epoch that is not on record was) trained again in " + TUNE, tuned)
    assert "could not be trusted (it is damaged: its checksum does not agree)" in tuned
    assert [line.partition(" ")[0] for line in said if line != tuned] == [PRETRAIN, PRUNE]
    page = html.unescape((folder / "report" / "index.html").read_text())
    assert all(line in page for line in said)


def test_the_network_is_that_of_an_undisturbed_run(resumed, tmp_path):
    config, folder, _ = resumed
    run(config, tmp_path / "study", all_images=True)
    (found,), (expected,) = models(folder), models(tmp_path / "study")
    assert metrics(found) == metrics(expected)
    assert (found / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
