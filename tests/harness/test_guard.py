"""A command that fails prints one line: known causes in their own words, others with a log file."""

import errno
import shutil

import pytest
from refusals import assert_refused

from harness.console import guard
from harness.errors import InputError, StudyFailed


@pytest.fixture
def failing(command, tiny, write_config, monkeypatch, tmp_path):
    """A function that runs a study whose work raises ``error``: (exit code, stderr)."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run(error):
        def fail(*args):
            raise error

        monkeypatch.setattr("harness.study.run_study", fail)
        code, out, err = command("run", write_config(tiny), "--backend", "inline", "--out", tmp_path / "study")
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return code, err

    return run


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (StudyFailed("2 jobs failed"), 1, "2 jobs failed"),
        (InputError("wrong"), 2, "wrong"),
        (KeyboardInterrupt(), 1, "run the same command again"),
        (OSError(errno.ENOSPC, "No space left on device", "a/report"), 1, "a/report: the disk is full"),
        (OSError(errno.EDQUOT, "Quota"), 1, "quota"),
        (OSError(errno.EROFS, "Read-only", "a"), 1, "a: the file system is read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 1, "a: permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "ulimit -n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a"), 2, "too long"),
        (MemoryError(), 1, "out of memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried"), 1, "out of memory"),
    ],
)
def test_known_causes_have_their_own_words(error, code, says, failing):
    got, err = failing(error)
    assert got == code
    assert says in err
    assert "unexpected" not in err


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), KeyError("x"), RecursionError("deep"), OSError("odd")])
def test_an_unexpected_exception_is_one_line_and_a_log(error, failing, tmp_path):
    code, err = failing(error)
    assert code == 1
    assert f"unexpected {type(error).__name__}" in err
    (log,) = tmp_path.glob("prune-or-search-*.log")
    assert str(log) in err
    assert "Traceback" in log.read_text()
    assert "in fail" in log.read_text()


def test_the_log_lies_in_the_study_where_there_is_one(failing, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.yaml").write_text("study: {}")
    _, err = failing(ZeroDivisionError("a bug"))
    (log,) = (tmp_path / "study").glob("*.log")
    assert str(log) in err


def test_a_message_of_many_lines_and_escapes_is_one_safe_line(failing):
    _, err = failing(ValueError("first\x1b[31m\nsecond"))
    assert "unexpected ValueError: first\\x1b[31m; details in" in err


def test_without_a_place_for_the_log_that_is_said(failing, monkeypatch):
    monkeypatch.setattr(guard, "_places", lambda folder: [])
    _, err = failing(ZeroDivisionError("a bug"))
    assert "no log could be written" in err


@pytest.mark.parametrize("verb", ["status", "report", "answer", "audit"])
@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "~nouser/study"])
def test_impossible_folders_are_refused(verb, name, command):
    words = [verb, name, *(["--macs", "1M"] if verb == "answer" else [])]
    assert_refused(command(*words))


@pytest.mark.parametrize("verb", ["status", "report", "answer", "audit"])
def test_a_circle_of_links_is_refused(verb, command, tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    words = [verb, tmp_path / "a", *(["--macs", "1M"] if verb == "answer" else [])]
    assert_refused(command(*words))


@pytest.mark.parametrize("name", ["x" * 300, "~nouser/out"])
def test_impossible_outputs_are_refused_and_nothing_is_made(name, command, tiny, write_config, tmp_path):
    assert_refused(command("run", write_config(tiny), "--backend", "inline", "--out", name))
    assert not list((tmp_path / "cwd").iterdir())


@pytest.mark.parametrize("name", ["report", "models", "checkpoints", "ledger"])
def test_a_file_in_the_place_of_a_folder_is_known_before_the_work(
    name, command, tiny, write_config, tmp_path, tiny_study
):
    study = shutil.copytree(tiny_study, tmp_path / "study")
    shutil.rmtree(study / name)
    (study / name).write_text("x")
    assert_refused(command("run", write_config(tiny), "--backend", "inline", "--out", study), name)


def test_a_report_folder_that_is_none_is_known_before_the_work(command, tiny, write_config, tmp_path, tiny_study):
    study = shutil.copytree(tiny_study, tmp_path / "study")
    (study / "report" / "index.html").unlink()
    assert_refused(command("run", write_config(tiny), "--backend", "inline", "--out", study), "report")


def test_a_backend_that_cannot_be_opened_leaves_no_folder(command, tiny, write_config, tmp_path, monkeypatch):
    def refuse(*args):
        raise InputError("no such backend")

    monkeypatch.setattr("harness.study.inline_backend", refuse)
    assert_refused(command("run", write_config(tiny), "--backend", "inline", "--out", tmp_path / "a" / "b"))
    assert not (tmp_path / "a").exists()


def test_why_a_study_ended_is_told_once_and_before_its_backend_ends(tiny, write_config, tmp_path, monkeypatch, capsys):
    from contextlib import contextmanager

    from harness import cli
    from harness.backends.base import Backend
    from harness.errors import StudyFailed

    said = []

    @contextmanager
    def dying(*_):
        def run(*_):
            raise StudyFailed("Ray's raylet died")

        try:
            yield Backend(
                [{"device": "cpu:here", "device_kind": "cpu_core", "amount": 1.0, "name": "CPU", "node": "here"}], run
            )
        finally:
            said.append(capsys.readouterr().err)

    config = write_config(tiny)
    monkeypatch.setattr("sys.argv", ["prune-or-search", "run", str(config), "--out", str(tmp_path / "out")])
    monkeypatch.setattr("harness.backends.tune.tune_backend", dying)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert "error: Ray's raylet died\n" in said[0]
    assert "Ray's raylet died" not in capsys.readouterr().err
