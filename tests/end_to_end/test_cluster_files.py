"""In examples/cluster, every command exists, all pods share the study's folder, and the Slurm script runs a study."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from clusters import clean, short_folder

from accounting.audit.audit import audit
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness import cli

CLUSTER = Path(__file__).parents[2] / "examples" / "cluster"
SCRIPT = CLUSTER / "slurm.sh"


@pytest.fixture(scope="module")
def job():
    return yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())


def pods(job):
    cluster = job["spec"]["rayClusterSpec"]
    return [group["template"]["spec"] for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]]


def parsed(words):
    """The parameters that our command line parses from ``prune-or-search ...``, without running it."""
    assert words[0] == "prune-or-search"
    command = typer.main.get_command(cli.app).commands[words[1]]
    return command.make_context(words[1], list(words[2:])).params


def apart():
    """Words that run a command in a PID namespace of its own; none if that is not permitted."""
    words = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        return []
    return words


class TestRayJob:
    def test_runs_a_study_on_its_own_cluster(self, job):
        given = parsed(shlex.split(job["spec"]["entrypoint"]))
        assert given["address"] == "auto"
        mounts = {Path(mount["mountPath"]) for mount in pods(job)[0]["containers"][0]["volumeMounts"]}
        assert all(any(mount in path.parents for mount in mounts) for path in (given["config"], given["out"]))

    def test_every_pod_mounts_the_same_claim_at_the_same_path(self, job):
        places = set()
        for pod in pods(job):
            claims = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "emptyDir" not in v}
            mounts = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] in claims]
            places.add(tuple((claims[m["name"]], m["mountPath"]) for m in mounts))
            assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert places == {(("studies", "/studies"),)}

    def test_one_image_and_a_token(self, job):
        assert len({pod["containers"][0]["image"] for pod in pods(job)}) == 1
        cluster = job["spec"]["rayClusterSpec"]
        assert cluster["authOptions"] == {"mode": "token"}
        assert tuple(map(int, cluster["rayVersion"].split("."))) >= (2, 52, 0)  # the first version with tokens

    def test_the_head_takes_no_jobs(self, job):
        assert job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}


class TestSlurm:
    def test_bash_reads_it(self):
        subprocess.run(["bash", "-n", str(SCRIPT)], check=True)

    def test_its_directives_are_whole(self):
        lines = SCRIPT.read_text().splitlines()
        directives = [line for line in lines if line.startswith("#SBATCH")]
        assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", line) for line in directives)
        begin = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
        assert all(lines.index(line) < begin for line in directives)  # sbatch stops reading at the first command

    def test_without_a_study_it_says_so(self):
        done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "give the YAML file of a study" in done.stderr

    @pytest.mark.timeout(300)
    def test_it_runs_a_study(self, tiny, tmp_path):
        """Slurm's two commands are replaced by stand-ins for a one-node job; Ray, the token and the study are real."""
        tiny["targets"], tiny["routes"] = ["0.6M"], {"prune": {"finetune": {"epochs": 1, "lr": 0.05}}}
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
        stand_in = {
            "scontrol": 'test "$*" = "show hostnames node[1]" && echo 127.0.0.1',
            "srun": 'test "$1" = --kill-on-bad-exit=1 && shift && exec "$@"',
        }
        (tmp_path / "bin").mkdir()
        for name, text in stand_in.items():
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / "bin" / name).chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with short_folder() as ray:
            env = clean(
                ray, PATH=os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
                SLURM_JOB_NODELIST="node[1]", SLURM_JOB_NUM_NODES="1", SLURM_CPUS_PER_TASK="2",
                RAY_PORT=str(port), RAY_TMPDIR=str(ray),
            )  # fmt: skip
            done = subprocess.run(
                [*apart(), "bash", str(SCRIPT), str(tmp_path / "tiny.yaml"), str(tmp_path / "study")],
                env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
            )  # fmt: skip
        if "Ray is already started on this node" in done.stderr:
            pytest.skip("`ray symmetric-run` refuses a machine on which a Ray runs, here another test's")
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "study" / "report" / "index.html").is_file()
        records = read_ledger(tmp_path / "study" / "ledger").records
        assert [r["reason"] for r in records if r["kind"] == Kind.SESSION_CLOSED] == ["done"]
        assert audit(records).ok, audit(records).findings
