"""Paths of checkpoints, and the checksum of the files there."""

import hashlib

import pytest

from harness.errors import InputError
from harness.models.build import checkpoint_path, checkpoint_sha256, load_checkpoint


@pytest.mark.parametrize("given", ["~no_such_user_here/x.pt", "a\0b.pt", "package:harness"])
def test_paths_that_are_none(given):
    with pytest.raises(InputError, match=r"parent\.checkpoint"):
        checkpoint_path(given)


def test_a_loop_of_links_and_a_missing_file_in_a_package(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for given in (str(tmp_path / "a"), "package:harness/no_such_file.pt"):
        with pytest.raises(InputError, match=r"parent\.checkpoint"):
            load_checkpoint(checkpoint_path(given))


def test_the_checksum_is_that_of_the_bytes(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"weights" * 10**6)
    assert checkpoint_sha256(tmp_path / "c.pt") == hashlib.sha256(b"weights" * 10**6).hexdigest()
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint_sha256(tmp_path / "gone.pt")
