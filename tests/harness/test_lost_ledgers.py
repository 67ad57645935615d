"""What each command says, and its exit code, if a study's ledger is lost in part or whole, or newer than this code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from accounting.ledger.index import segments_in

VERBS = ["run", "status", "report", "answer", "audit"]
NEWER = '{"kind":"segment_opened","t":1,"rules":99,"session":"s","writer":"w","host":"h","pid":1}\n'


@pytest.fixture
def study(tiny_study, tmp_path):
    """A copy of the tiny study without its weights, which a test may damage."""
    return shutil.copytree(
        tiny_study, tmp_path / "study", ignore=shutil.ignore_patterns("checkpoints", "models", "report", ".lock")
    )


def words(verb: str, folder: Path, config: Path) -> list[object]:
    if verb == "run":
        return ["run", config, "--out", folder, "--backend", "inline"]
    return [verb, folder, *(["--macs", "0.5M"] if verb == "answer" else [])]


def emptied(ledger: Path) -> None:
    for path in segments_in(ledger):
        path.unlink()


def replaced_by_a_file(ledger: Path) -> None:
    shutil.rmtree(ledger)
    ledger.write_text("x")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def a_link_in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


UNREADABLE = [
    *((damage, "worker") for damage in (a_folder, a_link_to_nothing, a_link_in_a_circle)),
    (a_folder, "index"),
    (a_link_in_a_circle, "index"),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("damage", "what"), UNREADABLE, ids=[f"{what}: {f.__name__}" for f, what in UNREADABLE])
def test_a_file_of_the_ledger_that_cannot_be_read_is_one_line_exit_2_and_nothing_is_written(
    damage, what, verb, tiny, study, write_config, refuses
):
    config = write_config(tiny)
    ledger = study / "ledger"
    path = ledger / "segments.index" if what == "index" else next(p for p in segments_in(ledger) if "-worker" in p.name)
    damage(path)
    refuses(words(verb, study, config), path.name)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("damage", [shutil.rmtree, emptied, replaced_by_a_file], ids=lambda damage: damage.__name__)
def test_a_ledger_that_is_gone_is_one_line_exit_2_and_nothing_is_written(
    damage, verb, tiny, study, write_config, refuses
):
    config = write_config(tiny)
    damage(study / "ledger")
    refuses(words(verb, study, config), "ledger")


@pytest.mark.parametrize("verb", VERBS)
def test_a_newer_version_of_the_rules_is_one_line_exit_2_and_nothing_is_written(
    verb, tiny, study, write_config, refuses
):
    config = write_config(tiny)
    (study / "ledger" / "zz.jsonl").write_text(NEWER)
    refuses(words(verb, study, config), "zz.jsonl:1: cost rules 99, this program knows 1 to 2")


@pytest.mark.parametrize("writer", ["driver", "worker"])
def test_audit_of_a_ledger_that_lost_a_segment_is_exit_1_and_names_it(writer, study, command):
    segment = next(path for path in segments_in(study / "ledger") if f"-{writer}" in path.name)
    segment.unlink()
    code, out, err = command("audit", study)
    assert (code, err) == (1, "")
    assert f"error: {segment.name} (written by the {writer}" in out
    assert "is gone: its attempts and costs are missing" in out
    assert out.endswith("the ledger does not add up\n")


@pytest.mark.parametrize("verb", ["status", "report"])
def test_what_shows_a_study_that_lost_a_segment_says_so(verb, study, command):
    segment = next(path for path in segments_in(study / "ledger") if "-worker" in path.name)
    segment.unlink()
    code, out, err = command(verb, study)
    assert code == 0, err
    shown = (study / "report" / "index.html").read_text() if verb == "report" else out
    assert f"{segment.name} (written by the worker" in shown
