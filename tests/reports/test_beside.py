"""Work in a second process is done when the body is, is redone if it failed, and is ended if the body fails."""

import multiprocessing
import os
import time

import pytest

from reports.export.beside import beside


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def test_long_work_is_done_by_another_process_by_the_end_of_the_body(tmp_path):
    def work():
        (tmp_path / "who").write_text(str(os.getpid()))

    with beside(work, is_long=True):
        pass
    assert (tmp_path / "who").read_text() != str(os.getpid())


def test_short_work_is_done_here_before_the_body():
    done = []
    with beside(lambda: done.append(os.getpid()), is_long=False):
        assert done == [os.getpid()]


def test_work_that_another_process_could_not_do_is_done_here():
    done, own = [], os.getpid()

    def work():
        if os.getpid() != own:
            os.kill(os.getpid(), 9)
        done.append(own)

    with beside(work, is_long=True):
        pass
    assert done == [own]


def test_an_error_of_the_work_is_raised_after_the_body(capfd):
    body = []

    def work():
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), beside(work, is_long=True):
        body.append("done")
    assert body == ["done"]
    assert capfd.readouterr() == ("", "")


def test_work_ends_with_a_body_that_failed():
    with pytest.raises(ValueError, match="body"), beside(lambda: time.sleep(600), is_long=True):
        raise ValueError("body")
    assert multiprocessing.active_children() == []


def test_work_that_another_process_never_ends_is_done_here():
    done, own = [], os.getpid()

    def work():
        if os.getpid() != own:
            time.sleep(600)
        done.append(own)

    with beside(work, is_long=True, patience_s=0.2):
        pass
    assert done == [own]
    assert multiprocessing.active_children() == []
