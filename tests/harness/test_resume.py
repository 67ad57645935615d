"""A resume state is trusted only if it is intact, written by us and of the same job."""

import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from some_jobs import job

from accounting.ledger.records import Phase
from harness.config.recipe import Recipe
from harness.jobs.identity import JobId
from harness.jobs.start import WeightsOf
from harness.jobs.work import Train
from harness.training.resume import identity_of, load_state, save_state

CPU = torch.device("cpu")
JOB = job("p", phase=Phase.PRETRAIN, seed=11, network={"builder": "x"}, work=Train(Recipe(lr=0.1)))
STATE = {"epoch": 2, "model": {"w": torch.arange(4.0)}, "optimizer": {"state": {}}, "curve": [0.1, 0.2]}


@pytest.fixture
def path(tmp_path):
    save_state(STATE, tmp_path / "resume.pt", identity_of(JOB))
    return tmp_path / "resume.pt"


def test_what_was_written_is_read(path):
    state = load_state(path, identity_of(JOB), CPU)
    assert torch.equal(state["model"]["w"], STATE["model"]["w"])
    assert (state["epoch"], state["curve"]) == (2, [0.1, 0.2])


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _hostile(path):
    """Write a file with a valid header and checksum, as anyone could, around a hostile pickle."""
    import hashlib

    payload = pickle.dumps(Trap())
    header = {
        "format": "prune-or-search resume 1", "identity": identity_of(JOB),
        "sha256": hashlib.sha256(payload).hexdigest(),
    }  # fmt: skip
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload)


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "cut in its header": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "empty": lambda path: path.write_bytes(b""),
    "a bit flipped": _flip,
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "a plain torch file": lambda path: torch.save(STATE, path),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Trap())),
    "a pickle that vouches for itself": _hostile,
    "text": lambda path: path.write_text("hello\nworld"),
    "a list": lambda path: path.write_text("[1]\n"),
    "a folder": lambda path: (path.unlink(), path.mkdir(), (path / "x").write_text("x")),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a link in a circle": lambda path: (path.unlink(), path.symlink_to(path)),
    "another state": lambda path: save_state({"epoch": 1}, path, identity_of(JOB)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_cannot_be_trusted_is_dropped_with_a_line_in_the_log(path, damage, caplog):
    DAMAGE[damage](path)
    told = []
    assert load_state(path, identity_of(JOB), CPU, told.append) is None
    assert "the training begins at its start" in caplog.text
    assert len(told) == 1
    assert told[0] in caplog.text
    assert not os.path.lexists(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 12},
        {"work": Train(Recipe(lr=0.2))},
        {"network": {"builder": "y"}},
        {"id": JobId("prune", 0, None, "q")},
        {"start": WeightsOf("z")},
    ],
)
def test_the_state_of_another_job_is_dropped(path, changes):
    assert load_state(path, identity_of(replace(JOB, **changes)), CPU) is None


def test_no_state_is_no_news(tmp_path, caplog):
    assert load_state(tmp_path / "resume.pt", "x", CPU) is None
    assert not caplog.text
