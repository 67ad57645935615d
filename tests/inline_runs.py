"""Run a study in this process and read what it left."""

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from unittest import mock

from accounting.ledger.store import read_ledger
from harness.config.study import DatasetConfig, parse_config
from harness.console.progress import Silent
from harness.data import fashion_mnist_mini
from harness.planning.speeds import Speeds
from harness.study import Launch, run_study
from reports.figures import discover
from reports.page.render import Rendered

SMALL = {"routes": {"prune": {"finetune": {"epochs": 1}}}, "targets": ["0.6M"]}
"""Changes to a tiny config that leave four jobs: one target, and only the prune route."""


NUM_VAL, NUM_TEST = 100, 300
"""A run evaluates on this many images of fashion_mnist_mini instead of 1,000 and 4,000."""


def run(config, folder, **kept):
    """Run a study quickly (see `quick`) in this process."""
    with quick(**kept):
        return run_study(parse_config(config, "test"), folder, Launch("inline", begin_t=time.time()), Silent())


@contextmanager
def quick(*, with_figures=False, all_images=False):
    """Make a study in this process four times faster: few images, no figures, no speed measured for its plan.

    Tests with `tiny_study` and tests on a cluster do all of this in full; tests/reports tests the figures.
    """
    few = mock.patch.object(fashion_mnist_mini.Dataset, "splits", _few_images)
    undrawn = mock.patch("reports.page.render.Rendering", _Undrawn)
    with ExitStack() as stack:
        stack.enter_context(mock.patch("harness.keep_plan.measure_speeds", return_value=Speeds(1e9)))
        for patch, is_kept in ((few, all_images), (undrawn, with_figures)):
            if not is_kept:
                stack.enter_context(patch)
        yield


class _Undrawn:
    def __init__(self, _frames, folder, _second):
        folder.mkdir(parents=True, exist_ok=True)

    def finished(self):
        return {name: Rendered(name, figure.TITLE, "Not drawn.") for name, figure in discover().items()}


_ALL_IMAGES = fashion_mnist_mini.Dataset.splits


def _few_images(dataset):
    return _read_few(dataset.info().num_train)


@cache
def _read_few(num_train):
    splits = _ALL_IMAGES(fashion_mnist_mini.Dataset(DatasetConfig(name="fashion_mnist_mini", num_train=num_train)))

    def first(split, count):
        return replace(split, images=split.images[:count], labels=split.labels[:count])

    return replace(splits, val=first(splits.val, NUM_VAL), test=first(splits.test, NUM_TEST))


def records(folder, kind):
    return [record for record in read_ledger(folder / "ledger").records if record["kind"] == kind]


def models(folder):
    return sorted(path.parent for path in folder.glob("models/*/*/*/model.safetensors"))


def metrics(model):
    return json.loads((model / "metrics.json").read_text())
