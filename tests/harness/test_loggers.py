"""Loggers: every record is told once, whatever happens in between, and a failing tracker never stops a study."""

from __future__ import annotations

import json
import logging
import shutil
import struct
import sys
import types
from collections import Counter

import pytest

from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.study import plugins
from accounting.study.folder import StudyFolder
from harness.config.study import parse_config
from harness.loggers.base import News, Run, Scalar
from harness.loggers.feed import _Feed, logged
from harness.loggers.news import NewsOf
from harness.planning.speeds import Speeds

OWN = """
import json

class Logger:
    NEEDS = ""
    BEGINS_ANEW = {anew}

    def __init__(self, run):
        run.folder.mkdir(parents=True, exist_ok=True)
        self.place = run.folder / "told.jsonl"

    def log(self, news):
        with self.place.open("a") as file:
            for one in news:
                said = [one.t, one.text, [[s.tag, s.value, s.step] for s in one.scalars]]
                file.write(json.dumps(said) + chr(10))

    def close(self):
        with self.place.open("a") as file:
            file.write("closed" + chr(10))
"""


@pytest.fixture
def own(tmp_path):
    """A function that puts a user's own logger to use and returns its name."""

    def use(text=OWN, anew=False, name="own"):
        path = tmp_path / f"{name}.py"
        path.write_text(text.format(anew=anew))
        plugins.use([plugins.read_plugin(path)])
        return path

    yield use
    plugins.use([])


@pytest.fixture
def config(tiny):
    return parse_config(tiny, "tiny")


@pytest.fixture(scope="module")
def records(tiny_study):
    return list(read_ledger(tiny_study / "ledger").records)


def told(paths, name="own"):
    """What the logger wrote, without the ends of sessions."""
    lines = (paths.loggers / name / "told.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line != "closed"]


def epochs(lines):
    """The lines written at the end of an epoch."""
    return [
        line for line in lines if line[2] and line[2][0][0].endswith("val_top1") and "delivered" not in line[2][0][0]
    ]


def session(config, paths, name="own", *looks):
    feed = _Feed(name, config, paths)
    for records in looks:
        feed.look(records)
    feed.close()


def test_what_a_ledger_says_in_numbers_and_sentences(records):
    news = NewsOf(records, {}).tell(records)
    scalars = [scalar for one in news for scalar in one.scalars]
    measured = [r for r in records if r["kind"] == Kind.PROGRESS and r["val_top1"] is not None]
    ends = [s for s in scalars if s.tag.endswith("/val_top1") and "delivered/" not in s.tag]
    assert len(ends) == len(measured)
    delivered = {scalar.tag for scalar in scalars if scalar.tag.startswith("delivered/")}
    assert {"delivered/prune/0.6M/test_top1", "delivered/search/0.4M/val_top1"} <= delivered
    spent = [scalar for scalar in scalars if scalar.tag == "spent_cpu_core_hours/prune"]
    assert [scalar.value for scalar in spent] == sorted(scalar.value for scalar in spent)
    texts = [one.text for one in news if one.text]
    assert texts[0].startswith("session begun: tiny")
    assert [one.t for one in news] == sorted(one.t for one in news)


def test_every_record_is_told_once_over_sessions_and_looks(config, records, own, tmp_path):
    own()
    whole, cut = StudyFolder(tmp_path / "whole"), StudyFolder(tmp_path / "cut")
    session(config, whole, "own", records)
    third = len(records) // 3
    session(config, cut, "own", records[:10], records[:third])
    session(config, cut, "own", records[:third])
    session(config, cut, "own", records[: 2 * third], records)
    session(config, cut, "own", records)
    found = told(cut)
    assert len(found) == len({json.dumps(line) for line in found})
    assert sorted(map(json.dumps, epochs(found))) == sorted(map(json.dumps, epochs(told(whole))))
    assert json.loads((cut.loggers / "own.json").read_text())["pending"] is None


def die(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("anew", [True, False])
def test_a_driver_that_dies_while_it_tells_leaves_nothing_twice(
    anew, config, records, own, tmp_path, monkeypatch, caplog
):
    own(anew=anew)
    paths, half = StudyFolder(tmp_path / "study"), len(records) // 2
    feed = _Feed("own", config, paths)
    feed.look(records[:10])
    monkeypatch.setattr(feed._logger, "log", lambda news, log=feed._logger.log: (log(news), die()))
    with pytest.raises(KeyboardInterrupt):
        feed.look(records[:half])
    before = len(told(paths))
    with caplog.at_level(logging.WARNING):
        session(config, paths, "own", records)
    found = Counter(map(json.dumps, told(paths)))
    assert max(found.values()) == 1
    if anew:  # everything, from the first record on
        assert sum(found.values()) == len(NewsOf(records, {}).tell(records))
    else:
        assert len(told(paths)) > before
        assert "own may lack what happened just before the last session was cut off" in caplog.text


def test_a_tracker_that_fails_is_a_warning_and_gets_it_later(config, records, own, tmp_path, caplog):
    own(OWN.replace('self.place.open("a")', "open(self.place / 'no', 'a')").replace("{anew}", "True"))
    paths = StudyFolder(tmp_path / "study")
    with caplog.at_level(logging.WARNING):
        session(config, paths, "own", records[:10], records)
    assert caplog.text.count("own gets nothing more of this session, the study continues") == 1
    own(anew=True)
    session(config, paths, "own", records)
    assert len(told(paths)) == len(NewsOf(records, {}).tell(records))


def test_a_service_that_does_not_answer_holds_no_study(config, tiny_study, own, tmp_path, monkeypatch, caplog):
    own("import time\n" + OWN.replace("def log(self, news):", "def log(self, news):\n        time.sleep(5)"))
    shutil.copytree(tiny_study / "ledger", tmp_path / "study" / "ledger")
    monkeypatch.setattr("harness.loggers.feed.LAST_S", 0.05)
    with caplog.at_level(logging.WARNING), logged(config, ["own"], StudyFolder(tmp_path / "study")):
        pass
    assert "own: the last news was not delivered after" in caplog.text


def test_a_finished_study_is_told_whole_when_it_gets_a_logger(
    tiny, tiny_study, write_config, command, own, tmp_path, monkeypatch
):
    """With a user's own file and TensorBoard, by the command; a second run adds only its own session."""
    monkeypatch.setattr("harness.study.build_report", lambda root: root / "report" / "index.html")  # it exists
    folder, file = tmp_path / "study", own()
    shutil.copytree(tiny_study, folder)
    path = write_config(tiny | {"plugins": [str(file)], "loggers": ["own", "tensorboard"]})
    words = ("run", path, "--out", folder, "--backend", "inline", "-q")
    code, _, err = command(*words)
    assert (code, err) == (0, "")
    paths = StudyFolder(folder)
    first = told(paths)
    assert sum(bool(line[1]) and line[1].startswith("session begun") for line in first) == 2
    assert command(*words)[0] == 0
    again = told(paths)
    assert again[: len(first)] == first
    more = [line[1] for line in again[len(first) :]]
    begun, ended = more
    assert (begun.split(":")[0], ended.split(" (")[0]) == ("session begun", "session ended")
    tags = Counter((event.summary.value[0].tag, event.step) for event in events(paths.loggers / "tensorboard"))
    assert max(tags.values()) == 1
    assert ("delivered/prune/0.6M/test_top1", 0) in tags
    assert paths.config.read_text().count("tensorboard") == 1


def events(folder):
    """The events with a value in a folder's files. Each record is a length, a checksum, the data and a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if len(event.summary.value) and event.summary.value[0].HasField("simple_value"):
                yield event


NEWS = [
    News(10.0, "session begun: tiny"),
    News(11.5, scalars=(Scalar("prune-r0-pretrain/val_top1", 0.5, 1), Scalar("prune-r0-pretrain/train_loss", 2.0, 1))),
    News(12.0, "finished prune-r0-pretrain"),
]


@pytest.fixture
def run_of(tmp_path):
    return Run("tiny", "0123456789abcdef", tmp_path / "own", {"name": "tiny", "seed": 0})


def fake(monkeypatch, name, **attributes):
    module = types.ModuleType(name)
    for key, value in attributes.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.mark.parametrize(("key", "mode"), [(None, "offline"), ("k" * 40, "online")])
def test_wandb(key, mode, monkeypatch, run_of, tmp_path):
    """Without a key it writes offline and does not ask for one."""
    rows, begun, ended = [], {}, []
    inner = types.SimpleNamespace(log=rows.append, finish=lambda: ended.append(True))
    fake(monkeypatch, "wandb", init=lambda **given: (begun.update(given), inner)[1])
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    logger = plugins.load(plugins.Kind.LOGGER, "wandb").Logger(run_of)
    logger.log(NEWS)
    logger.close()
    assert (begun["id"], begun["resume"], begun["mode"], begun["name"]) == (run_of.run_id, "allow", mode, "tiny")
    assert rows[1] == {"prune-r0-pretrain/val_top1": 0.5, "step": 1, "t": 11.5}
    assert [row["event"] for row in rows if "event" in row] == ["session begun: tiny", "finished prune-r0-pretrain"]
    assert ended == [True]


def test_trackio(monkeypatch, run_of, capsys):
    """What trackio prints does not get between the lines of ``run --json``."""
    rows, begun, ended = [], {}, []
    module = fake(monkeypatch, "trackio", log=rows.append)
    code = """
def init(**given): print("* Trackio project initialized"); begun.update(given)
def finish(): print("* Run finished"); ended.append(True)
"""
    module.begun, module.ended = begun, ended
    exec(code, module.__dict__)
    logger = plugins.load(plugins.Kind.LOGGER, "trackio").Logger(run_of)
    logger.log(NEWS)
    logger.close()
    assert (begun["project"], begun["name"], begun["resume"]) == ("tiny", run_of.run_id, "allow")
    assert [row for row in rows if "event" not in row] == [
        {"prune-r0-pretrain/val_top1": 0.5, "step_of_series": 1, "t": 11.5},
        {"prune-r0-pretrain/train_loss": 2.0, "step_of_series": 1, "t": 11.5},
    ]
    assert (ended, capsys.readouterr().out) == ([True], "")


def test_mlflow_finds_the_run_of_the_study_again(monkeypatch, run_of):
    runs, metrics, tags = [], [], {}

    class Client:
        def get_experiment_by_name(self, name):
            return types.SimpleNamespace(experiment_id="7") if runs else None

        def create_experiment(self, name):
            return "7"

        def search_runs(self, experiments, filter_string, max_results):
            assert filter_string == f"tags.`prune_or_search.run_id` = '{run_of.run_id}'"
            return runs

        def create_run(self, experiment, tags, run_name):
            runs.append(types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1")))
            return runs[0]

        def log_metric(self, run_id, key, value, timestamp, step):
            metrics.append((run_id, key, value, timestamp, step))

        def set_tag(self, run_id, key, value):
            tags[key] = value

        def set_terminated(self, run_id):
            tags["ended"] = run_id

    fake(monkeypatch, "mlflow")
    fake(monkeypatch, "mlflow.tracking", MlflowClient=Client)
    for _ in range(2):
        logger = plugins.load(plugins.Kind.LOGGER, "mlflow").Logger(run_of)
        logger.log(NEWS)
        logger.close()
    assert len(runs) == 1
    assert metrics[:2] == [
        ("r1", "prune-r0-pretrain/val_top1", 0.5, 11500, 1), ("r1", "prune-r0-pretrain/train_loss", 2.0, 11500, 1),
    ]  # fmt: skip
    assert tags == {"prune_or_search.last_event": "finished prune-r0-pretrain", "ended": "r1"}


class TestConfig:
    def refused(self, tiny, write_config, command):
        code, out, err = command("plan", write_config(tiny))
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    def test_a_logger_that_is_not_there(self, tiny, write_config, command):
        err = self.refused(tiny | {"loggers": ["tensorbord"]}, write_config, command)
        assert "loggers: unknown logger 'tensorbord' (did you mean 'tensorboard'?)" in err

    def test_one_whose_package_is_not_installed(self, tiny, write_config, command, monkeypatch):
        from importlib import util

        find = util.find_spec
        monkeypatch.setattr(util, "find_spec", lambda name, *more: None if name == "wandb" else find(name, *more))
        err = self.refused(tiny | {"loggers": ["wandb"]}, write_config, command)
        assert "loggers: wandb needs the package wandb; pip install" in err
        assert "[wandb]" in err

    def test_one_that_lacks_a_part(self, tiny, write_config, command, tmp_path):
        (tmp_path / "half.py").write_text("class Logger:\n    NEEDS = ''\n")
        err = self.refused(tiny | {"plugins": ["half.py"], "loggers": ["half"]}, write_config, command)
        assert "loggers: half: its Logger has no BEGINS_ANEW, log, close" in err
        plugins.use([])

    def test_none_at_all(self, tiny, write_config, command, monkeypatch):
        monkeypatch.setattr("harness.plan.measure_speeds", lambda *_: Speeds(1e9))
        code, _, err = command("plan", write_config(tiny | {"loggers": []}))
        assert (code, err) == (0, "")
