"""With Ray's memory monitor set so that every worker is over its limit, a run ends in one line that says why.

Ray decides which process the monitor kills first. If it kills every process that is asked for the node's devices,
nothing has been written. If one of them answers between two checks, the workers of the jobs are lost.
"""

import json
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


def prune_or_search(*arguments, **options):
    command = [sys.executable, "-m", "harness.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=450, check=False, **options)


@pytest.mark.parametrize("refresh_ms", [5, 1000])
def test_a_machine_on_which_no_worker_may_live_is_said_in_one_line(tiny, write_config, request, refresh_ms):
    config = write_config(tiny)
    study = config.parent / "study"
    monitor = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": str(refresh_ms)}
    done = prune_or_search("run", config, "--out", study, env=os.environ | monitor, cwd=request.config.rootpath)
    said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
    assert (done.returncode, len(said)) == (1, 1), done.stderr
    (line,) = said
    assert "OutOfMemoryError" in line
    assert "low on memory" in line
    if line.startswith("error: node "):
        assert not study.exists()
    else:
        assert line.startswith("error: 3 jobs failed, the first prune-r0-pretrain: ")
        audited = prune_or_search("audit", study, "--json", cwd=request.config.rootpath)
        assert audited.returncode == 0, audited.stdout
        (balance,) = json.loads(audited.stdout)["balances"]
        assert balance["allocated_s"] > 0
        assert balance["productive_s"] == 0
        assert balance["imbalance"] == pytest.approx(0, abs=1e-6)
    assert tree(os.getpid()) == [os.getpid()]
