"""Fake studies, written once for all tests of the reports; no test writes into them."""

from __future__ import annotations

import pytest
from fake_study import build_study

from reports.frames import load_frames


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The complete study of `fake_study`: 2 targets, 3 replicates, all routes."""
    return build_study(tmp_path_factory.mktemp("complete"))


@pytest.fixture(scope="session")
def frames(study):
    return load_frames(study)


@pytest.fixture
def make_study(tmp_path):
    """Another study, by the arguments of `build_study`."""

    def make(**options):
        return build_study(tmp_path, **options)

    return make
