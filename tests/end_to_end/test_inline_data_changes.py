"""An image that vanishes, appears or changes between two attempts ends the session, since the hold-out shifts."""

import os
import shutil

import numpy
import pytest
from inline_runs import models, records, run
from PIL import Image

from accounting.audit.audit import audit
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.backends import inline
from harness.errors import StudyFailed
from harness.work.attempt import execute


def photos(root):
    random = numpy.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for name in ("cat", "dog"):
            (folder := root / part / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype="uint8")).save(folder / f"{i}.png")
    return root


@pytest.fixture
def config(tiny, tmp_path):
    """A config with four jobs on photos: pretrain, prune, finetune, evaluate."""
    tiny |= {"targets": ["0.6M"], "routes": {"prune": {"finetune": {"epochs": 1}}}, "name": "photos"}
    tiny |= {"recipe": {"batch_size": 8, "augment": "none"}, "parent": tiny["parent"] | {"pretrain": {"epochs": 1}}}
    path = str(photos(tmp_path / "photos"))
    tiny["dataset"] = {"name": "image_folder", "path": path, "image_size": 32, "num_workers": 0}
    return tiny


CHANGES = {
    "vanishes": (lambda root: (root / "train/cat/3.png").unlink(), "num_train 22 then, 21 now"),
    "appears": (
        lambda root: [shutil.copy(root / "train/cat/3.png", root / f"train/cat/3{i}.png") for i in range(5)],
        "num_train 22 then, 26 now; num_val 2 then, 3 now",
    ),
    "is another": (lambda root: shutil.copy(root / "train/cat/4.png", root / "train/cat/3.png"), "fingerprint"),
    "of the test vanishes": (lambda root: (root / "val/dog/0.png").unlink(), "num_test 8 then, 7 now"),
    "is the last of a class": (
        lambda root: shutil.rmtree(root / "val/dog"),
        "class dog is in only one of train/ and val/",
    ),
}


def test_what_the_data_has_to_note_is_said_once_before_it_is_paid_for_and_stands_on_the_page(config, tmp_path, caplog):
    root = tmp_path / "photos"
    (root / "train/cat/notes\n.txt").write_text("no picture")
    shutil.copy(root / "train/dog/5.png", root / "val/dog/copy.png")
    page = run(config, tmp_path / "study")
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("data: ")]
    assert said == [
        r"data: train/: 1 file is not used: 1 not in an image format that Pillow knows (such as cat/notes\x0a.txt)",
        "data: 1 of 9 test images have the same bytes as a training image (such as val/dog/copy.png and train/dog/5.png): "
        "the test accuracy is too high",
    ]
    shown = page.read_text()
    assert all(note.removeprefix("data: ") in shown for note in said)
    caplog.clear()
    run(config, tmp_path / "study")
    assert not [record for record in caplog.records if record.getMessage().startswith("data: ")]


def before_job(monkeypatch, number, action):
    """Call ``action`` before the job of this number in the session begins."""
    begun = []

    def changed(job, place):
        begun.append(job.name)
        if len(begun) == number:
            action()
        return execute(job, place)

    monkeypatch.setattr(inline, "execute", changed)
    return begun


@pytest.mark.parametrize(("number", "change"), [*((2, change) for change in CHANGES), (4, "vanishes")])
def test_other_data_ends_the_session_at_once_and_restored_data_goes_on(number, change, config, tmp_path, monkeypatch):
    alter, says = CHANGES[change]
    root, study = tmp_path / "photos", tmp_path / "study"
    shutil.copytree(root, tmp_path / "kept", copy_function=shutil.copy2)
    begun = before_job(monkeypatch, number, lambda: alter(root))
    with pytest.raises(StudyFailed, match="the data changed while the study ran") as ended:
        run(config, study)
    assert says in str(ended.value)
    assert "\n" not in str(ended.value)
    assert len(begun) == number, "no attempt is repeated and no other job begun"
    last = records(study, Kind.ATTEMPT_ENDED)[-1]
    assert (last["status"], last["reason"] in str(ended.value)) == ("failed", True)
    assert not records(study, Kind.JOB_ABANDONED)

    shutil.rmtree(root)
    shutil.copytree(tmp_path / "kept", root)
    monkeypatch.setattr(inline, "execute", execute)
    run(config, study)
    assert len(models(study)) == 1
    ledger = read_ledger(study / "ledger")
    found = audit(ledger.records, ledger.findings)
    assert found.ok, found.findings
    assert len(records(study, Kind.ATTEMPT_STARTED)) == 4 + 1


def test_the_same_content_at_another_time_is_the_same_data(config, tmp_path, monkeypatch):
    root = tmp_path / "photos"
    before_job(monkeypatch, 2, lambda: [os.utime(path) for path in root.rglob("*.png")])
    run(config, tmp_path / "study")
    assert len(models(tmp_path / "study")) == 1
