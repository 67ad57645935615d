"""The messages of a run that ends without all of its networks."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.console.endings import check_ending
from harness.errors import StudyFailed


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        ({"a": "it diverged"}, "1 job failed, a: it diverged; the report is page.html"),
        ({"a": "it diverged", "b": "lost"}, "2 jobs failed, the first a: it diverged; the report is page.html"),
    ],
)
def test_failed_jobs_are_counted_and_the_first_is_named(failed, said):
    with pytest.raises(StudyFailed) as told:
        check_ending(SimpleNamespace(failed=failed), [1000], [], "CPU core-hours", Path("page.html"))
    assert str(told.value) == said
