"""Only one driver holds a study; others can see whether it is alive, where it runs, and when it is gone."""

import json
import os
import socket

import pytest

from accounting.ledger.driver_lock import Driver, Life, Locked, find_driver, held


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".lock"


def test_who_holds_it_is_seen_by_others(path):
    assert find_driver(path) == Driver(Life.GONE)
    with held(path):
        assert find_driver(path) == Driver(Life.ALIVE, socket.gethostname(), os.getpid())
    assert find_driver(path) == Driver(Life.GONE, socket.gethostname(), os.getpid())


def test_a_second_holder_is_refused_and_told_who_the_first_is(path, monkeypatch):
    monkeypatch.setattr("accounting.ledger.driver_lock.PATIENCE_S", 0.05)
    with held(path), pytest.raises(Locked, match=f"process {os.getpid()} on"), held(path):
        pass


def test_looking_does_not_keep_a_driver_out(path):
    import fcntl

    with held(path):
        pass
    with path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = __import__("threading").Timer(0.2, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        with held(path):
            assert find_driver(path).life is Life.ALIVE
        timer.join()


def test_of_a_driver_on_another_host_a_free_lock_says_nothing(path):
    path.write_text(json.dumps({"host": "elsewhere", "pid": 7}))
    assert find_driver(path) == Driver(Life.UNKNOWN, "elsewhere", 7)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "\x00"])
def test_a_lock_file_of_older_code_or_a_damaged_one_still_works(path, text):
    path.write_text(text)
    assert find_driver(path) == Driver(Life.GONE)
    with held(path):
        assert find_driver(path).pid == os.getpid()


def test_a_removed_lock_file_is_not_held_beside_its_successor(path):
    with held(path):
        path.unlink()
        with held(path):
            assert find_driver(path).life is Life.ALIVE
