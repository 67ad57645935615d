"""The commit of the harness's checkout, which every session records."""

import os
import subprocess

from harness.commit import CHANGED, commit
from harness.environment import environment


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkout_has_its_commit_and_says_where_it_was_changed(tmp_path):
    (tmp_path / "code.py").write_text("one")
    git(tmp_path, "init", "-q")
    assert commit(tmp_path) is None  # nothing is committed yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "notes").write_text("not tracked")
    assert commit(tmp_path) == head
    (tmp_path / "code.py").write_text("two")
    assert commit(tmp_path) == head + CHANGED


def test_an_installed_package_has_none_though_it_lies_in_a_repository(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "site-packages").mkdir()
    assert commit(tmp_path / "site-packages") is None


def test_without_git_there_is_none(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert commit(tmp_path) is None


def test_a_session_has_it_on_record():
    found = environment(["prune-or-search", "run"])
    assert found.get("commit") == commit()


def test_a_command_with_bytes_that_are_no_text_can_be_kept():
    found = environment(["prune-or-search", "run", os.fsdecode(b"caf\xe9.yaml")])
    assert found["command"] == "prune-or-search run caf\\udce9.yaml"
