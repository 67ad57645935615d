"""Refusals: one line on stderr, exit code 2, and no file changed."""

import pytest
from refusals import assert_refused


@pytest.fixture
def refuses(command, tmp_path, snapshot):
    """A function that asserts that a command is refused in one line with the given words, and that no file changes."""

    def check(words, *says):
        before = snapshot(tmp_path)
        assert_refused(command(*words), *says)
        assert snapshot(tmp_path) == before
        assert not (tmp_path / "cwd" / "runs").exists()

    return check
