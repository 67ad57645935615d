"""Runs a study in this process, and reads what it left."""

import json
import time
from contextlib import nullcontext
from unittest import mock

from accounting.ledger.store import read_ledger
from harness.config.study import parse_config
from harness.console.progress import Silent
from harness.study import Launch, run_study
from reports.figures import discover
from reports.page.render import Rendered

SMALL = {"routes": {"prune": {"finetune": {"epochs": 1}}}, "targets": ["0.6M"]}
"""Of a tiny config, what leaves four jobs of it: one target, pruning alone."""


def run(config, folder, *, with_figures=False):
    """Without its figures a study takes half as long; what is drawn has tests of its own (tests/reports).

    Nor is a speed measured for its plan: that is in the tests with `tiny_study` and those of a cluster.
    """
    drawing = nullcontext() if with_figures else mock.patch("reports.page.render.render_figures", _undrawn)
    with drawing, mock.patch("harness.keep_plan.measure_speed", return_value=1e9):
        return run_study(parse_config(config, "test"), folder, Launch("inline", begin_t=time.time()), Silent())


def _undrawn(_frames, folder):
    folder.mkdir(parents=True, exist_ok=True)
    return {name: Rendered(name, figure.TITLE, "Not drawn.", "") for name, figure in discover().items()}


def records(folder, kind):
    return [record for record in read_ledger(folder / "ledger").records if record["kind"] == kind]


def models(folder):
    return sorted(path.parent for path in folder.glob("models/*/*/*/model.safetensors"))


def metrics(model):
    return json.loads((model / "metrics.json").read_text())
