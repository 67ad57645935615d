"""Copies of a study in a bucket: what is final is copied once and never changed (a folder, local servers of S3 and GS)."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import socket
from pathlib import Path

import pytest

from accounting.audit.audit import audit
from accounting.ledger.index import read_index
from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter, read_ledger
from accounting.study.folder import StudyFolder
from harness.config.store import StoreConfig, url_problem
from harness.errors import InputError
from harness.stored.keeping import Keeper, kept_in_store
from harness.stored.object_store import ObjectStore, StoreConflict, sha256_of

BUCKET = "studies"


@pytest.fixture(scope="module")
def s3():
    """The address of a local S3 server with one empty bucket."""
    if importlib.util.find_spec("moto") is None:
        pytest.skip(
            "no S3 server: moto[server] is not installed (it needs python-dateutil below 3, constraints.txt has 4)"
        )
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    kept = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ.update(dict.fromkeys(kept, "testing"))
    address = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    options = {"endpoint_override": f"127.0.0.1:{port}", "scheme": "http", "region": "us-east-1"}
    fs.S3FileSystem(**options, allow_bucket_creation=True).create_dir(BUCKET)
    yield address
    server.stop()
    for name, value in kept.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def gs():
    """The address of a local server that speaks Google Cloud Storage's API, with one empty bucket."""
    if importlib.util.find_spec("gcp_storage_emulator") is None:
        pytest.skip("no server for gs://: gcp-storage-emulator is not installed (it needs a setuptools below 81)")
    from gcp_storage_emulator.server import create_server

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    yield f"endpoint_override=127.0.0.1:{port}&scheme=http&anonymous=true"
    server.stop()


@pytest.fixture(params=["file", "s3", "gs"])
def url(request, tmp_path):
    if request.param == "file":
        return f"file://{tmp_path}/bucket/mine"
    return f"{request.param}://{BUCKET}/{tmp_path.name}?{request.getfixturevalue(request.param)}"


@pytest.fixture
def store(url):
    made = ObjectStore(url)
    made.check()
    return made


def test_a_file_is_put_once_and_another_content_is_refused(store, tmp_path):
    path = tmp_path / "a file"
    path.write_bytes(b"content")
    assert store.put(path, "a/b.bin") == sha256_of(path)
    assert store.put(path, "a/b.bin") == sha256_of(path)
    path.write_bytes(b"changed")
    with pytest.raises(StoreConflict, match="has another content; it is left as it is"):
        store.put(path, "a/b.bin")
    assert store.get("a/b.bin") == b"content"
    assert store.names() == ["a/b.bin"]


def test_the_first_bytes_of_a_file_that_grows(store, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"line 1\nline 2\n")
    store.put(path, "log", 7)
    path.write_bytes(b"line 1\nline 2\nline 3\n")
    store.put(path, "log", 7)
    assert store.get("log") == b"line 1\n"


def test_a_bucket_that_is_not_there_is_bad_input(s3):
    with pytest.raises(InputError, match="there is no bucket nowhere"):
        ObjectStore(f"s3://nowhere/x?{s3}").check()


def test_a_server_that_is_not_there_is_bad_input(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(InputError, match=r"^store\.url: s3://b/x.* cannot be used: ") as told:
        ObjectStore("s3://b/x?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1").check()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://x/y", "allowed is s3://bucket/studies"),
        ("s3://", "names no bucket"),
        ("s3://me:secret@b/x", "a URL with a name or password in it"),
        ("file://host/x", "three slashes"),
        ("file:///", "three slashes"),
        ("s3://b/x?zone=1", "unknown option 'zone'"),
        ("gs://b/x?region=1", "unknown option 'region'"),
        ("gs://b/x?anonymous=yes", "allowed is true or false"),
        ("file:///mnt/x?region=1", "file has none"),
        ("s3://b/x#mine", "without #"),
        ("file:///mnt/my%20studies", "without %-escapes"),
        ("s3://b/x?region=", "option 'region' in 's3://b/x?region=' is empty or given twice"),
        ("s3://b/x?region=a&region=b", "option 'region'"),
    ],
)
def test_urls_that_cannot_be(url, said):
    assert said in str(url_problem(url))
    with pytest.raises(ValueError, match="1 validation error"):
        StoreConfig(url=url)


class Study:
    """A folder with an ended session, one under way, and a delivered network."""

    def __init__(self, root):
        self.paths = StudyFolder(root)
        root.mkdir()
        self.paths.config.write_text("name: x\n")
        self.session("s1")
        self.delivered(b"weights")

    def session(self, name, reason="done"):
        with LedgerWriter(self.paths.ledger, name, "driver") as ledger:
            ledger.append(Kind.SESSION_OPENED, session=name, study="x", capacity=[], environment={})
            if reason is not None:
                ledger.append(Kind.SESSION_CLOSED, session=name, reason=reason)
        return ledger.path

    def delivered(self, weights):
        folder = self.paths.model(600_000, "prune", 0)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "metrics.json").write_text("{}")


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "study")


def versions(store, prefix):
    return sorted({key.split("/")[4] for key in store.names() if key.startswith(prefix)})


def test_what_is_final_is_there_after_a_session_and_gives_the_study_back(study, url, store, tmp_path):
    with kept_in_store(StoreConfig(url=url), study.paths, "s2"):
        study.session("s2")
    keys = store.names()
    segments = sorted(path.name for path in study.paths.ledger.glob("*.jsonl"))
    assert [key for key in keys if key.startswith("ledger/")] == [f"ledger/{name}" for name in segments]
    assert [key for key in keys if key.startswith("sessions/")] == [
        "sessions/s2/segments.index",
        "sessions/s2/study.yaml",
    ]
    [version] = versions(store, "models/600000/prune/0/")
    manifest = json.loads(store.get(f"models/600000/prune/0/{version}/MANIFEST.json"))
    assert sorted(manifest["files"]) == ["metrics.json", "model.safetensors"]

    back = tmp_path / "back" / "ledger"
    back.mkdir(parents=True)
    for name in segments:
        (back / name).write_bytes(store.get(f"ledger/{name}"))
    (back / "segments.index").write_bytes(store.get("sessions/s2/segments.index"))
    ledger = read_ledger(back)
    assert ledger.records == read_ledger(study.paths.ledger).records
    assert [f.code for f in audit(ledger.records, ledger.findings).findings if f.severity == "error"] == []


def test_a_place_with_the_copies_of_another_study_is_refused(study, store, tmp_path):
    ledger = read_index(study.paths.ledger).ledger
    store.check_owner(None)
    Keeper(store, study.paths).look()
    store.check_owner(ledger)
    for other in (None, "0" * 16):
        with pytest.raises(InputError, match=r"has the copies of another study; give each study a URL of its own"):
            store.check_owner(other)


def test_the_session_under_way_is_the_loss_window(study, store):
    open_one = study.session("s2", reason=None)  # killed
    keeper = Keeper(store, study.paths)
    keeper.look()
    assert f"ledger/{open_one.name}" not in store.names()
    study.session("s3")  # the next run seals what the killed session left
    keeper.look()
    assert f"ledger/{open_one.name}" in store.names()


def test_a_network_that_is_delivered_again_is_another_version(study, store):
    keeper = Keeper(store, study.paths)
    keeper.look()
    keeper.look()
    assert len(versions(store, "models/600000/prune/0/")) == 1
    study.delivered(b"better ones")
    keeper.look()
    both = versions(store, "models/600000/prune/0/")
    found = {store.get(f"models/600000/prune/0/{version}/model.safetensors") for version in both}
    assert found == {b"weights", b"better ones"}


def test_a_network_that_is_not_whole_yet_is_not_copied(study, store):
    part = study.paths.model(600_000, "prune", 0).with_name(".0.1a2b3c4d.part")
    part.mkdir()
    (part / "metrics.json").write_text("{}")
    Keeper(store, study.paths).look()
    assert {key.split("/")[3] for key in store.names() if key.startswith("models/")} == {"0"}


@pytest.mark.parametrize("place", ["", "/copies"])
def test_the_study_s_own_folder_is_no_store(study, place, tmp_path):
    """Otherwise each look would copy the copies made by the one before."""
    (tmp_path / "link").symlink_to(study.paths.root)
    for root in (study.paths.root, tmp_path / "link"):
        with pytest.raises(InputError, match="the study's own folder"):
            ObjectStore(f"file://{root}{place}").check(study.paths.root)
    ObjectStore(f"file://{tmp_path}/study-copies").check(study.paths.root)
    ObjectStore(f"file://{tmp_path}").check(study.paths.root)


def test_what_is_there_is_not_read_again_and_a_lost_note_changes_nothing(study, url, store, monkeypatch):
    Keeper(store, study.paths).look()
    puts = []
    monkeypatch.setattr(ObjectStore, "put", lambda self, path, key, length=None: puts.append(key) or "")
    Keeper(ObjectStore(url), study.paths).look()
    assert puts == []
    monkeypatch.undo()
    (study.paths.remembered / "store.json").unlink()
    before = store.names()
    Keeper(ObjectStore(url), study.paths).look()
    assert store.names() == before


def test_a_segment_that_was_changed_after_its_seal_is_not_copied(study, store, caplog):
    [path] = study.paths.ledger.glob("*.jsonl")
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"study":"x"', b'"study":"y"'))
    Keeper(store, study.paths).look()
    assert not [key for key in store.names() if key.startswith("ledger/")]
    assert "was changed after it was sealed" in caplog.text


def test_checkpoints_are_copied_where_asked_for(study, store):
    with LedgerWriter(study.paths.ledger, "s2", "worker") as ledger:
        for job, status in (("done", "ok"), ("failed", "failed")):
            ledger.append(
                Kind.ATTEMPT_STARTED, session="s2", attempt=f"{job}#1", job=job, route="prune", phase="pretrain",
                target=None, replicate=0, allocation=None, devices={}, meter="none", network_macs=1, spec={},
            )  # fmt: skip
            ledger.append(
                Kind.ATTEMPT_ENDED, attempt=f"{job}#1", status=status, reason=None, outcome={} if status == "ok" else None,
                work_end_t=None, measurement=None,
            )  # fmt: skip
            study.paths.checkpoint(job).mkdir(parents=True)
            study.paths.weights(job).write_bytes(b"w")
            study.paths.resume(job).write_bytes(b"state")
    Keeper(store, study.paths).look()
    assert not [key for key in store.names() if key.startswith("checkpoints/")]
    Keeper(store, study.paths, with_checkpoints=True).look()
    names = [key.split("/")[1::2] for key in store.names() if key.startswith("checkpoints/")]
    assert names == [["done", "MANIFEST.json"], ["done", "weights.safetensors"]]


def test_a_bucket_that_fails_is_a_warning_and_the_next_look_goes_on(study, store, monkeypatch, caplog):
    def refuse(self, path, key, length=None):
        raise OSError("the network is down")

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(ObjectStore, "put", refuse)
        keeper = Keeper(store, study.paths)
        keeper.look()
        keeper.end("s1")
    assert caplog.text.count("the network is down") == 2
    assert store.names() == []
    keeper.look()
    assert len(store.names()) == 1 + 3


def test_without_a_store_nothing_is_written(study):
    before = sorted(Path(study.paths.root).rglob("*"))
    with kept_in_store(None, study.paths, "s2"):
        pass
    assert sorted(Path(study.paths.root).rglob("*")) == before
