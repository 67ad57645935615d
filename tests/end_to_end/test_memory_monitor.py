"""Ray's memory monitor, set so that every worker is over its limit: a run ends in one line, and has written nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import tree

pytestmark = [
    pytest.mark.timeout(500),
    pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Ray's memory monitor needs /proc"),
]


def test_a_machine_on_which_no_worker_may_live_is_said_in_one_line(tiny, write_config, request):
    config = write_config(tiny)
    monitor = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "run", config, "--out", config.parent / "study"],
        env=os.environ | monitor, cwd=request.config.rootpath, capture_output=True, text=True, timeout=450, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
    assert (done.returncode, len(said)) == (1, 1), done.stderr
    (line,) = said
    assert line.startswith("error: node ")
    assert "OutOfMemoryError" in line
    assert "low on memory" in line
    assert not (config.parent / "study").exists()
    assert tree(os.getpid()) == [os.getpid()]
