"""The page in headless Chromium, if Chromium, node and the npm packages are found (NODE_MODULES)."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from test_one_family import CONTROLS, study_of

import benchmarks
from reports.answers.whole import WholeAnswer
from reports.page.content import page_content
from reports.page.html import page_html

SCRIPT = Path(benchmarks.__path__[0]) / "page_in_browser.mjs"
SKIPPED = 77


def test_a_page_of_three_targets_and_five_contenders(tmp_path):
    node = shutil.which("node")
    if node is None or "NODE_MODULES" not in os.environ:
        pytest.skip("no node, or no NODE_MODULES with axe-core and puppeteer-core: `npm install --prefix DIR` them")
    labels = ("prune", "search", *CONTROLS, "scratch_random_masks")
    hours = {label: [(1.0 + k, 1.1 + k, 1.2 + k)] * 3 for k, label in enumerate(labels)}
    frames = study_of(hours, (300, 400, 500)).read(tmp_path)
    page = tmp_path / "index.html"
    page.write_text(page_html(page_content(WholeAnswer(frames), {})), encoding="utf-8")
    done = subprocess.run([node, str(SCRIPT), str(page)], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip())
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["scheme"] for one in seen] == ["light", "dark"], done.stderr
    for one in seen:
        assert (one["console_errors"], one["requests"], one["serious"], one["wider_than_phone_px"]) == ([], [], 0, 0)
        assert one["sorts"] is True
    assert (seen[0]["closed_on_paper"], seen[0]["buttons_on_paper"]) == (0, 0)
