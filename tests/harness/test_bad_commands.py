"""Wrong folders, torn ledgers and wrong command lines give one line on stderr and exit code 2, and nothing is lost."""

import fcntl
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from data.folder_layouts import plain
from inline_runs import SMALL, quick
from refusals import assert_refused, changed

GARBAGE = [b'{"kind": "attempt_', b"\x00\xff\xfe", b"[]", b'{"kind": "unheard_of", "t": 1}']


class TestFolder:
    def test_under_a_file(self, tiny, write_config, refuses):
        file = write_config("x", "file")
        refuses(["run", write_config(tiny), "--out", file / "x" / "y"], "file", "--out")

    def test_is_a_file(self, tiny, write_config, refuses):
        refuses(["run", write_config(tiny), "--out", write_config("x", "file")], "file", "--out")

    def test_runs_is_a_file(self, tiny, tmp_path, write_config, command, snapshot):
        config = write_config(tiny)
        (tmp_path / "cwd" / "runs").write_text("x")
        before = snapshot(tmp_path)
        assert_refused(command("run", config, "--backend", "inline"), "runs")
        assert snapshot(tmp_path) == before

    def test_lies_among_the_images(self, tiny, tmp_path, write_config, refuses):
        """The study's folder would be read as a class, and every attempt would fail."""
        plain(tmp_path / "photos")
        tiny["dataset"] = {"name": "image_folder", "path": str(tmp_path / "photos"), "image_size": 28}
        config = write_config(tiny)
        for out in ("train/study", "val/a/study"):
            refuses(
                ["run", config, "--backend", "inline", "--out", tmp_path / "photos" / out], "among the images", "--out"
            )

    def test_has_a_name_that_is_no_text(self, tiny, tmp_path, write_config, refuses):
        """Weights cannot be read from such a path: every job but the first would fail, three times each."""
        out = tmp_path / os.fsdecode(b"caf\xe9")
        refuses(["run", write_config(tiny), "--backend", "inline", "--out", out], "not UTF-8", "--out")

    def test_holds_other_files(self, tiny, tmp_path, write_config, refuses):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.tex").write_text("x")
        refuses(["run", write_config(tiny), "--out", tmp_path / "out"], "other files", "--out")

    def test_what_systems_leave_in_a_new_volume_is_in_nobodys_way(self, tiny, tmp_path, write_config, command):
        (tmp_path / "out" / "lost+found").mkdir(parents=True)
        for name in (".DS_Store", "._x", ".nfs000012"):
            (tmp_path / "out" / name).write_text("x")
        with quick():
            code, _, err = command(
                "run", write_config(tiny | SMALL), "--out", tmp_path / "out", "--backend", "inline", "-q"
            )
        assert (code, err) == (0, "")

    @pytest.mark.parametrize(("path", "value"), [("seed", 1), ("targets", ["0.5M"]), ("recipe.lr", 0.06)])
    def test_holds_another_study(self, path, value, tiny, study, write_config, refuses):
        config = write_config(changed(tiny, path, value))
        refuses(["run", config, "--out", study, "--backend", "inline"], "another study", path.split(".")[0])

    def test_is_in_use(self, tiny, study, write_config, refuses):
        with (study / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            refuses(["run", write_config(tiny), "--out", study, "--backend", "inline"], "in use")

    @pytest.mark.parametrize("verb", ["run", "status", "report", "answer", "audit"])
    def test_its_config_is_garbled(self, verb, tiny, study, write_config, refuses):
        (study / "study.yaml").write_text("study: [")
        refuses(self.words(verb, study, write_config(tiny)), "study.yaml")

    @pytest.mark.parametrize("verb", ["run", "status", "report", "answer"])
    @pytest.mark.parametrize("garbage", GARBAGE)
    def test_its_ledger_is_garbled_in_the_middle(self, verb, garbage, tiny, study, write_config, refuses):
        segment = max((study / "ledger").iterdir(), key=lambda path: path.stat().st_size)
        lines = segment.read_bytes().split(b"\n")
        lines[2] = garbage
        segment.write_bytes(b"\n".join(lines))
        refuses(self.words(verb, study, write_config(tiny)), f"{segment.name}:3")

    @pytest.mark.parametrize("garbage", GARBAGE)
    def test_audit_names_the_garbled_line_among_its_findings(self, garbage, study, command):
        segment = max((study / "ledger").iterdir(), key=lambda path: path.stat().st_size)
        lines = segment.read_bytes().split(b"\n")
        lines[2] = garbage
        segment.write_bytes(b"\n".join(lines))
        code, out, err = command("audit", study)
        assert (code, err) == (1, "")
        assert f"{segment.name}:3" in out
        assert "the ledger does not add up" in out

    def test_many_damaged_lines_are_told_in_few(self, study, command):
        """A file whose line ends were converted is damaged in every line."""
        segment = max((study / "ledger").iterdir(), key=lambda path: path.stat().st_size)
        segment.write_bytes(segment.read_bytes().replace(b"\n", b"\r\n"))
        num = segment.read_bytes().count(b"\n")
        assert num > 30
        code, out, err = command("audit", study)
        assert (code, err) == (1, "")
        assert out.count("was changed after it was written") == 10
        assert f"error: {num - 10} more like that (chain_broken); `audit --json` lists all" in out
        assert len(json.loads(command("audit", study, "--json")[1])["findings"]) >= num
        out = command("status", study)[1]
        assert out.count("was changed after it was written") == 10
        assert "more like these; `prune-or-search audit` lists them" in out
        assert "the verdict of this study does not stand" in command("answer", study)[1]

    @pytest.mark.parametrize("verb", ["status", "report", "answer", "audit"])
    def test_is_no_study(self, verb, tmp_path, refuses):
        (tmp_path / "empty").mkdir()
        refuses(self.words(verb, tmp_path / "empty", ""), "study.yaml")

    @pytest.mark.parametrize("verb", ["status", "report", "answer", "audit"])
    def test_is_not_there(self, verb, tmp_path, refuses):
        refuses(self.words(verb, tmp_path / "gone", ""), "gone")

    def words(self, verb, folder, config):
        if verb == "run":
            return ["run", config, "--out", folder, "--backend", "inline"]
        return [verb, folder, *(["--macs", "0.5M"] if verb == "answer" else [])]


@pytest.fixture
def study(tiny_study, tmp_path):
    """A copy of the tiny study without its weights, which a test may damage."""
    return shutil.copytree(
        tiny_study, tmp_path / "study", ignore=shutil.ignore_patterns("checkpoints", "models", "report", ".lock")
    )


class TestTornLine:
    @pytest.mark.parametrize("tail", [b'{"kind":"heartb', b"\xff\x00", b"{"])
    def test_is_skipped_with_a_warning(self, tail, study, command):
        segment = next(path for path in (study / "ledger").iterdir() if "worker" in path.name)
        with segment.open("ab") as file:
            file.write(tail)
        code, out, err = command("audit", study)
        assert (code, err) == (0, "")
        assert f"{segment.name}" in out
        assert "torn" in out
        assert command("status", study)[0] == 0
        assert command("answer", study, "--macs", "0.6M")[0] == 0

    def test_run_goes_on(self, tiny, study, write_config, command, snapshot):
        segment = next(path for path in (study / "ledger").iterdir() if "worker" in path.name)
        with segment.open("ab") as file:
            file.write(b'{"kind":"heartb')
        before = snapshot(study / "ledger")
        with quick():
            code, out, _ = command("run", write_config(tiny), "--out", study, "--backend", "inline")
        assert code == 0
        assert "report: " in out
        after = snapshot(study / "ledger")
        segments = [name for name in before if name.endswith(".jsonl")]
        assert [after[name] for name in segments] == [before[name] for name in segments], "no line is lost or rewritten"


class TestCommandLine:
    def test_unknown_command(self, refuses):
        refuses(["rum", "x.yaml"], "rum")

    def test_unknown_option(self, tiny, write_config, refuses):
        refuses(["run", write_config(tiny), "--bakend", "inline"], "--bakend")

    def test_unknown_option_of_status(self, tmp_path, refuses):
        refuses(["status", tmp_path, "--yaml"], "--yaml")

    @pytest.mark.parametrize("verb", ["plan", "run", "status", "report", "answer", "audit"])
    def test_missing_argument(self, verb, refuses):
        refuses([verb], "Missing argument")

    def test_an_argument_too_many(self, tmp_path, refuses):
        refuses(["status", tmp_path, tmp_path], "extra")

    def test_option_without_its_value(self, tiny, write_config, refuses):
        refuses(["run", write_config(tiny), "--out"], "--out")

    def test_unknown_backend(self, tiny, write_config, refuses):
        refuses(["run", write_config(tiny), "--backend", "nonsense"], "nonsense", "inline")

    def test_list_of_something_unknown(self, refuses):
        refuses(["list", "criterions"], "criterions", "criteria", "strategies")

    def test_no_command_at_all_is_the_help(self, command):
        code, out, err = command()
        assert code == 2
        assert "run" in out + err

    @pytest.mark.parametrize("macs", ["0", "nonsense", "-1", "0.6 X", "", "1e999", "nan", "0.4"])
    def test_answer_for_no_number_of_macs(self, macs, study, refuses):
        refuses(["answer", study, "--macs", macs], "--macs", "0.5M")

    @pytest.mark.parametrize("macs", ["0%", "100%", "50 %%"])
    def test_answer_for_no_share(self, macs, study, refuses):
        refuses(["answer", study, "--macs", macs], "--macs")

    @pytest.mark.parametrize("macs", ["0.2M", "5M", "999G"])
    def test_answer_outside_of_what_was_measured(self, macs, study, refuses):
        refuses(["answer", study, "--macs", macs])

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    @pytest.mark.parametrize("backend", ["inline", "tune"])
    def test_cuda_where_there_is_none(self, backend, tiny, write_config, refuses, monkeypatch):
        monkeypatch.setattr("harness.backends.own_ray.own_ray", lambda: pytest.fail("no cluster is needed to know it"))
        tiny["resources"] = {"device": "cuda"}
        refuses(["run", write_config(tiny), "--backend", backend], "cuda")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_plan_for_cuda_where_there_is_none(self, tiny, write_config, refuses):
        tiny["resources"] = {"device": "cuda"}
        refuses(["plan", write_config(tiny)], "cuda")


class TestAsAProcess:
    """The same with the real command, run twice: no library writes to stderr either."""

    def run(self, tmp_path, *words):
        cwd = tmp_path / "cwd"
        cwd.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli", *map(str, words)],
            cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert not list(cwd.iterdir())
        return done.returncode, done.stdout, done.stderr

    @pytest.fixture(autouse=True)
    def _path(self, monkeypatch, request):
        monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))

    def test_a_target_above_the_parent(self, tiny, tmp_path, write_config):
        tiny["targets"] = ["5M"]
        assert_refused(self.run(tmp_path, "run", write_config(tiny)), "5M")

    def test_an_unknown_option(self, tmp_path):
        assert_refused(self.run(tmp_path, "status", tmp_path, "--yaml"), "--yaml")
