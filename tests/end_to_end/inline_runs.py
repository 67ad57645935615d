"""Runs a study in this process, and reads what it left."""

import json
import time

from accounting.ledger.store import read_ledger
from harness.config.study import parse_config
from harness.console.progress import Silent
from harness.study import Launch, run_study

SMALL = {"routes": {"prune": {"finetune": {"epochs": 1}}}, "targets": ["0.6M"]}
"""Of a tiny config, what leaves four jobs of it: one target, pruning alone."""


def run(config, folder):
    return run_study(parse_config(config, "test"), folder, Launch("inline", begin_t=time.time()), Silent())


def records(folder, kind):
    return [record for record in read_ledger(folder / "ledger").records if record["kind"] == kind]


def models(folder):
    return sorted(path.parent for path in folder.glob("models/*/*/*/model.safetensors"))


def metrics(model):
    return json.loads((model / "metrics.json").read_text())
