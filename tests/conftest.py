"""Fixtures that all tests share: single-threaded torch, shared data, a tiny config, and one tiny study, really run."""

import copy
import fcntl
import hashlib
import logging
import os
import shutil
import sys
import time
from pathlib import Path

# Set before numpy and torch are imported, for this process and its children: contending threads are very slow.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402

torch.set_num_threads(1)
# No deadlines, since machines are busy, and the same examples everywhere; CONTRIBUTING.md says how to try new ones.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile("same")

TINY = {
    "name": "tiny",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 200},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 2}},
    "targets": ["0.6M", "0.4M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05},
    "routes": {
        "search": {"strategy": {"num_trials": 3}, "candidate": {"epochs": 1}, "retrain": {"epochs": 1}},
        "prune": {"finetune": {"epochs": 2, "lr": 0.05}},
        "scratch": {"train": {"epochs": 1}},
    },
}
"""All routes and two targets: 24 jobs, a few seconds."""


LONGEST_FIRST = (
    "end_to_end/test_full_disk.py", "end_to_end/test_signals.py", "end_to_end/test_tune_study.py",
    "end_to_end/test_inline_extend.py", "end_to_end/test_strangers.py", "end_to_end/test_inline_study.py",
    "end_to_end/test_address.py", "end_to_end/test_inline_advice.py", "end_to_end/",
)  # fmt: skip
"""Parts of paths. With ``--dist loadfile --no-loadscope-reorder`` no worker ends up alone with a long file."""


QUICK_STUDIES = ("test_inline_study.py", "test_tune_study.py")
"""Whole studies that are not slow tests: one runs in this process; one runs on Ray, is killed and is resumed."""
SLOW = (
    "contracts/test_extension_contract.py", "contracts/test_strategies_contract.py", "harness/test_deliver_exports.py",
    "harness/test_deliver_module.py", "harness/test_export_onnx.py", "harness/test_pruning_routes.py",
    "harness/test_quantise.py", "pruning/test_not_followed.py", "pruning/test_odd_networks.py",
    "reports/test_follow_target.py",
)  # fmt: skip
"""Files that take over twenty CPU-seconds each, since they cover every route, strategy, format or network of a list."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Run the longest files first and the rest in their usual order; mark whole studies and long lists as slow."""
    length = len(LONGEST_FIRST)
    items.sort(key=lambda item: next((n for n in range(length) if LONGEST_FIRST[n] in item.path.as_posix()), length))
    for item in items:
        is_study = item.path.parent.name == "end_to_end" and item.path.name not in QUICK_STUDIES
        if is_study or item.path.as_posix().endswith(SLOW):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def shared_data():
    """The folder of shared data; the test is skipped if there is none."""
    given = os.environ.get("PRUNE_OR_SEARCH_SHARED")
    folder = Path(given) if given else Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; PRUNE_OR_SEARCH_SHARED may name it")
    return folder


@pytest.fixture
def tiny():
    """The tiny config as nested dicts, which the test may change."""
    return copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def tiny_text():
    """The tiny config as YAML."""
    return yaml.safe_dump(TINY)


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory):
    """The folder of the tiny study, run once for all workers of pytest-xdist. Do not change it; copy it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _run_tiny(tmp_path_factory.mktemp("inline") / "tiny")
    place = tmp_path_factory.getbasetemp().parent / "inline"
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "done").exists():
            shutil.rmtree(place / "tiny", ignore_errors=True)  # left by a worker that failed
            _run_tiny(place / "tiny")
            (place / "done").touch()
    return place / "tiny"


def _run_tiny(folder):
    from harness.config.study import parse_config
    from harness.console.progress import Silent
    from harness.study import Launch, run_study

    page = run_study(parse_config(TINY, "tiny"), folder, Launch("inline", begin_t=time.time()), Silent())
    assert page == folder.resolve() / "report" / "index.html"
    return folder


@pytest.fixture(autouse=True)
def _no_plugins_of_another_test():
    """Plug-in files that one test loaded are not in use in the next test."""
    yield
    from accounting.study import plugins

    plugins.use([])


@pytest.fixture
def write_config(tmp_path):
    """A function that writes nested dicts, text or bytes as a config outside the working folder and gives its path."""

    def write(config, name="config.yaml"):
        path = tmp_path / name
        if isinstance(config, bytes):
            path.write_bytes(config)
        else:
            path.write_text(config if isinstance(config, str) else yaml.safe_dump(config), encoding="utf-8")
        return path

    return write


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """A function that runs a command line in this process, in an empty working folder: (exit code, stdout, stderr)."""
    from harness import cli

    cwd = tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.chdir(cwd)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["prune-or-search", *(str(word) for word in words)])
        monkeypatch.setattr(cli, "_BEGIN_T", time.time())
        capsys.readouterr()
        with pytest.raises(SystemExit) as exited:
            cli.main()
        captured = capsys.readouterr()
        return exited.value.code, captured.out, captured.err

    yield run
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def snapshot():
    """A function that maps each path under a folder to a hash of its content (None for a folder)."""

    def take(folder):
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
            for path in sorted(folder.rglob("*"))
        }

    return take
