"""The cache is private to the user, and what is read from it is what was written."""

import itertools
import os
import subprocess
import sys
import textwrap

import pytest

from harness.data import cache


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    cache._own_folder.cache_clear()
    yield tmp_path
    cache._own_folder.cache_clear()


def usual(temporary):
    return temporary / f"prune-or-search-{os.geteuid()}"


def test_what_was_written_is_read_and_the_folder_is_private(temporary):
    cache.write_cached("key", b"content")
    assert cache.read_cached("key") == b"content"
    assert cache.cache_folder() == usual(temporary)
    assert usual(temporary).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("gone", ["a file in its place", "nothing there"])
def test_without_a_folder_to_write_to_nothing_is_kept_and_nothing_fails(gone, tmp_path, monkeypatch):
    """The temporary folder accepts nothing: it is read-only, full or missing."""
    place = tmp_path / "tmp"
    if gone == "a file in its place":
        place.write_text("")
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(place))
    cache.write_cached("key", b"content")
    assert cache.read_cached("key") is None


DAMAGES = [lambda b: b[:-1], lambda b: b"", lambda b: b[:70], lambda b: b[:-1] + b"?", lambda b: b + b"!"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_read_and_made_again(damage, temporary):
    cache.write_cached("key", b"content")
    file = usual(temporary) / "key"
    file.write_bytes(damage(file.read_bytes()))
    assert cache.read_cached("key") is None
    cache.write_cached("key", b"content")
    assert cache.read_cached("key") == b"content"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720])
def test_a_folder_that_others_may_write_to_is_not_used(mode, temporary):
    usual(temporary).mkdir()
    usual(temporary).chmod(mode)
    cache.write_cached("key", b"content")
    assert list(usual(temporary).iterdir()) == []
    assert cache.cache_folder() == cache.cache_folder() != usual(temporary)
    assert cache.cache_folder().stat().st_mode & 0o777 == 0o700
    assert cache.read_cached("key") == b"content"


@pytest.mark.parametrize("taken", ["file", "link"])
def test_a_file_or_a_link_in_place_of_the_folder_is_not_used(taken, temporary):
    (temporary / "elsewhere").mkdir(mode=0o700)
    if taken == "file":
        usual(temporary).write_text("")
    else:
        usual(temporary).symlink_to(temporary / "elsewhere")
    cache.write_cached("key", b"content")
    assert cache.read_cached("key") == b"content"
    assert list((temporary / "elsewhere").iterdir()) == []


AS_ANOTHER = """
    import os, sys, tempfile
    from harness.data import cache
    cache.tempfile.gettempdir = lambda: sys.argv[1]
    cache.write_cached("key", b"mine")
    os.setegid(65534); os.seteuid(65534)
    assert cache.read_cached("key") is None
    cache.write_cached("key", b"yours")
    assert cache.read_cached("key") == b"yours"
    found = cache.cache_folder().stat()
    assert (found.st_uid, found.st_mode & 0o777) == (65534, 0o700), found
    os.seteuid(0); os.setegid(0)
    assert cache.read_cached("key") == b"mine"
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to act as two users")
@pytest.mark.parametrize("squatted", [False, True])
def test_two_users_have_a_cache_each_even_if_the_first_took_the_second_ones_name(squatted, tmp_path):
    tmp_path.chmod(0o1777)
    for above in itertools.takewhile(lambda folder: folder.name.startswith(("pytest", "popen")), tmp_path.parents):
        above.chmod(above.stat().st_mode | 0o055)
    if squatted:
        (tmp_path / "prune-or-search-65534").mkdir(mode=0o755)
        (tmp_path / "prune-or-search-65534" / "key").write_bytes(b"planted")
    code = textwrap.dedent(AS_ANOTHER)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
