"""The token of a cluster that requires one: where it is looked for, and the error if it cannot be read there."""

import os

import pytest

from harness.backends import join_ray
from harness.errors import InputError

TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, in an environment that names no token."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    return tmp_path


@pytest.mark.parametrize("written", [TOKEN, f"{TOKEN}\n", f"  {TOKEN}\r\n"])
def test_a_file_s_white_space_is_no_part_of_it(home, written):
    (home / ".ray/auth_token").write_text(written)
    assert join_ray._token("h:1") == ("~/.ray/auth_token", TOKEN.encode())


def test_the_file_that_is_named_comes_before_that_of_the_home_folder(home, monkeypatch):
    (home / ".ray/auth_token").write_text("other")
    (home / "mine").write_text(TOKEN)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "mine"))
    assert join_ray._token("h:1") == (f"{home / 'mine'} (RAY_AUTH_TOKEN_PATH)", TOKEN.encode())


def a_loop(path):
    path.symlink_to(path)


NO_TOKEN = {
    "it is not there": lambda path: None,
    "it is empty": lambda path: path.write_text("\n"),
    "it is no file": lambda path: path.mkdir(),
    "Is a pipe": os.mkfifo,
    "a loop": a_loop,
}


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("case", NO_TOKEN)
def test_where_none_can_be_read_the_file_and_the_reason_are_named(home, monkeypatch, case, is_named):
    path = home / ("mine" if is_named else ".ray/auth_token")
    if is_named:
        (home / ".ray/auth_token").write_text(TOKEN)  # Ray would not read this one
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    NO_TOKEN[case](path)
    with pytest.raises(InputError, match=r"^--address h:1: this cluster asks for a token; put it into ") as refused:
        join_ray._token("h:1")
    said = str(refused.value)
    assert (
        f"{path} (RAY_AUTH_TOKEN_PATH): " if is_named else "~/.ray/auth_token or RAY_AUTH_TOKEN; the first: "
    ) in said
    if case.startswith("it is"):
        assert case in said


@pytest.mark.parametrize("token", [b"", b"a b", b"\xef\xbb\xbfabc", b"a\0b", b"a" * (join_ray.MAX_TOKEN + 1)])
def test_what_is_no_token_is_never_sent(token):
    assert not join_ray._is_token(token)
    assert join_ray._is_token(TOKEN.encode())
