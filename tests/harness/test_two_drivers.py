"""Changes by another driver between looking at a folder and locking it are noticed before anything is written."""

import shutil

import pytest

from harness import study
from harness.config.study import parse_config
from harness.console.progress import Silent
from harness.errors import InputError
from harness.study import Launch, run_study

ANOTHERS = "20260101T000000Z-driver-vm-1-abcdef.jsonl"


def began_a_study(root):
    (root / "ledger").mkdir(parents=True)
    (root / "study.yaml").write_text("name: of another\n")
    (root / "ledger" / ANOTHERS).write_text("")


def went_on_with_it(root):
    (root / "ledger" / ANOTHERS).write_text("")


def extended_it(root):
    text = (root / "study.yaml").read_text()
    (root / "study.yaml").write_text(text.replace("replicates: 1", "replicates: 2"))


@pytest.mark.parametrize(
    ("there_is_one", "another_run"), [(False, began_a_study), (True, went_on_with_it), (True, extended_it)]
)
def test_it_is_not_overwritten(there_is_one, another_run, request, tiny, tmp_path, monkeypatch, snapshot):
    folder = tmp_path / "study"
    if there_is_one:
        shutil.copytree(request.getfixturevalue("tiny_study"), folder, ignore=shutil.ignore_patterns(".lock"))
    look, then = study.content_of, {}

    def slow_look(config):
        found = look(config)
        another_run(folder)
        then.update(snapshot(folder))
        return found

    monkeypatch.setattr(study, "content_of", slow_look)
    with pytest.raises(InputError, match="another run has worked there in the meantime; run the same command again"):
        run_study(parse_config(tiny, "test"), folder, Launch("inline"), Silent())
    left = snapshot(folder)
    left.pop(".lock", None)
    assert left == then
