"""What was said of a large study is repeated without reading the study again, unless anything has changed."""

import hashlib
import json
import shutil

import pytest

from accounting.ledger.store import read_lean
from harness.console import remembered, show_answer
from harness.console.guard import InFolder
from harness.console.remembered import Remembered
from harness.console.show_answer import Wishes


@pytest.fixture
def copy(study, tmp_path, monkeypatch):
    """A copy of the complete study, treated as large although it is small."""
    monkeypatch.setattr(remembered.Remembered.__init__, "__defaults__", (0,))
    return shutil.copytree(study, tmp_path / "study")


def ask(folder, capsys, *, as_json=False, **wishes):
    show_answer.show_answer(folder, Wishes(**wishes), as_json=as_json)
    return capsys.readouterr().out


@pytest.fixture
def unreadable(monkeypatch):
    """A function that, once called, makes any reading of a study fail."""

    def end():
        def refuse(folder):
            raise AssertionError(f"{folder} was read")

        monkeypatch.setattr("reports.data.frames.load_frames", refuse)

    return end


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("wishes", [{}, {"macs": "800K"}, {"parent_price": "0"}])
def test_the_same_is_said_without_reading_the_study(copy, capsys, unreadable, as_json, wishes):
    first = ask(copy, capsys, as_json=as_json, **wishes)
    unreadable()
    assert ask(copy, capsys, as_json=as_json, **wishes) == first
    assert first


def test_another_question_is_not_taken_for_it(copy, capsys, unreadable):
    ask(copy, capsys)
    unreadable()
    with pytest.raises(InFolder) as raised:
        ask(copy, capsys, macs="800K")
    assert "was read" in str(raised.value.__cause__)


def digests(folder):
    return read_lean(folder / "ledger").digests


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


CHANGES = {
    "a byte of a segment": lambda folder: _flip(next((folder / "ledger").glob("*.jsonl"))),
    "a byte of the index": lambda folder: _flip(folder / "ledger" / "segments.index"),
    "a segment more": lambda folder: (folder / "ledger" / "z.jsonl").write_text("{}\n"),
    "a segment renamed": lambda folder: next((folder / "ledger").glob("*.jsonl")).rename(folder / "ledger" / "z.jsonl"),
    "the config": lambda folder: (folder / "study.yaml").open("a").write("\n"),
    "what is kept": lambda folder: _flip(next((folder / ".remembered").iterdir())),
    "a sentence of what is kept": lambda folder: _edit(next((folder / ".remembered").iterdir())),
}


def _edit(path):
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "said": ["pruning costs nothing"]}))


@pytest.mark.parametrize("change", CHANGES)
def test_at_any_doubt_the_study_is_read(copy, change):
    Remembered(copy, "q").keep(["said"], digests(copy))
    assert Remembered(copy, "q").recall() == ["said"]
    CHANGES[change](copy)
    assert Remembered(copy, "q").recall() is None


@pytest.mark.parametrize("change", [name for name in CHANGES if "kept" not in name])
@pytest.mark.parametrize("is_soon", [True, False])
def test_what_changed_while_it_was_read_is_not_kept(copy, change, is_soon):
    asked, read = Remembered(copy, "q"), digests(copy)
    if change == "the config" and is_soon:
        asked.check_soon()  # of the segments; all else is compared at the end
        asked._hashed.result()
    CHANGES[change](copy)
    if is_soon and asked._hashed is None:
        asked.check_soon()
    asked.keep(["said"], read)
    assert not (copy / ".remembered").exists()


def test_what_was_read_is_what_counts(copy):
    """A segment that changed before the question was asked, and back again while it was read."""
    Remembered(copy, "q").keep(["said"], {**digests(copy), next((copy / "ledger").glob("*.jsonl")).name: "another"})
    assert not (copy / ".remembered").exists()
    asked = Remembered(copy, "q")
    asked.check_soon()
    asked.keep(["said"], digests(copy))
    assert Remembered(copy, "q").recall() == ["said"]


def test_reading_says_what_was_read(copy):
    segments = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (copy / "ledger").glob("*.jsonl")}
    assert digests(copy) == segments


def test_a_small_study_keeps_nothing(study):
    Remembered(study, "q").keep(["said"], digests(study))
    assert not (study / ".remembered").exists()
    assert Remembered(study, "q").recall() is None
