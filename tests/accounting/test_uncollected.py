"""Ledgers are read without garbage collection, and the objects of a large one are kept out of later collections."""

import ctypes
import gc

import pytest

from accounting.ledger import uncollected as module
from accounting.ledger.uncollected import return_memory, uncollected


@pytest.fixture(autouse=True)
def thawed():
    """No object is frozen before or after a test."""
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(("num", "is_frozen"), [(50, False), (5000, True)])
def test_many_objects_are_kept_out_of_later_searches(monkeypatch, num, is_frozen):
    monkeypatch.setattr(module, "MANY", 1000)
    gc.collect()
    with uncollected():
        made = [{"n": [n]} for n in range(num)]
        assert not gc.isenabled()
    assert gc.isenabled()
    assert (gc.get_freeze_count() >= len(made)) == is_frozen


def test_whoever_had_switched_the_search_off_finds_it_off():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_memory_is_returned_by_the_c_library_where_it_can(monkeypatch):
    asked = []

    class Library:
        def __init__(self, _name):
            pass

        def malloc_trim(self, pad):
            asked.append(pad)

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", Library)
    return_memory()
    assert asked == [0]
    monkeypatch.delattr(Library, "malloc_trim")
    return_memory()  # a library without it
