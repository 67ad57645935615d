"""A call that may never return is stopped at its time limit; an alarm that was already set stays set."""

import contextlib
import signal
import threading
import time

import pytest

from accounting.study.limited import TookTooLong, limited


def forever():
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


def test_what_does_not_end_is_ended_though_it_catches_every_exception():
    with pytest.raises(TookTooLong, match=r"0\.1 s"), limited(0.1):
        forever()


def test_what_ends_in_time_is_left_alone():
    before = signal.getsignal(signal.SIGALRM)
    with limited(60):
        found = 1
    assert found == 1
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_alarm_that_was_set_before_goes_on():
    begun = signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with limited(60):
            pass
        left_s, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left_s <= 1000
    finally:
        signal.setitimer(signal.ITIMER_REAL, *begun)


def test_another_thread_has_no_limit():
    done = []

    def work():
        with limited(0.01):
            time.sleep(0.1)
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
