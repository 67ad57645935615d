"""One tiny study, really run in this process: what it leaves on disk, that it resumes, and that its costs add up."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import yaml
from inline_runs import NUM_TEST, metrics, models, records, run
from safetensors.numpy import load_file

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from harness.data import fashion_mnist_mini
from harness.data.base import TensorSplit
from harness.errors import InputError
from nas_baseline.spaces import load_space

LABELS = ("prune", "search", "scratch_family", "scratch_pruned_structure")
TARGETS = (600_000, 400_000)

REPRODUCE = """
import sys, numpy as np, torch
for folder in sys.argv[2:]:
    import os; os.chdir(folder)
    exec(open("README.md").read().split("```python\\n")[1].split("```")[0])
    info = json.load(open("architecture.json"))
    data = np.load(sys.argv[1]); images, labels = data["test_images"], torch.from_numpy(data["test_labels"].astype("int64"))
    mean, std = (torch.tensor(info[k]).view(1, -1, 1, 1) for k in ("mean", "std"))
    x = (torch.from_numpy(images)[:, None].float() / 255 - mean) / std
    with torch.no_grad():
        y = torch.cat([model(p.contiguous(memory_format=torch.channels_last)).argmax(1)
                       for p in x.split(info["eval_batch_size"])])
    print(int((y == labels).sum()) / len(labels), model.training, [m for m in sys.modules if m.startswith("harness")])
"""
"""About ten lines with only torch, timm, safetensors and numpy; the network is built by the lines of its card."""


class TestWhatIsLeft:
    def test_a_page_with_the_answer_first(self, tiny_study):
        html = (tiny_study / "report" / "index.html").read_text()
        answer = json.loads((tiny_study / "report" / "answer.json").read_text())
        text = re.sub(r"<(style|script|head)\b.*?</\1>", " ", html, flags=re.S)
        words = " ".join(re.sub(r"<[^>]+>", " ", text).split())
        import html as entities

        headline = re.sub(r"<[^>]+>", "", re.search(r"<h1[^>]*>(.*?)</h1>", html, flags=re.S)[1]).split()
        assert 3 <= len(headline) <= 25
        assert words.find(" ".join(headline)[:20]) < 200
        assert answer["sentence"] in entities.unescape(words), "and in full, folded"
        assert not re.search(r"(src|href)\s*=\s*[\"']https?:", html), "the page needs nothing from elsewhere"

    def test_answers_for_each_target(self, tiny_study):
        answer = json.loads((tiny_study / "report" / "answer.json").read_text())
        assert [a["target_macs"] for a in answer["answers"]] == sorted(TARGETS)
        for entry in answer["answers"]:
            assert entry["status"] == "measured"
            assert entry["unit"] == "cpu_core_hours"
            assert set(entry["policies"]) == {"free", "full", "amortised"}
            assert entry["n"] == 1
            # one replicate decides nothing, and networks trained for two epochs may be near chance
            assert entry["policies"]["full"]["verdict"] in ("insufficient_evidence", "not_comparable", "not_reached")

    def test_every_figure_thrice(self, tiny_study):
        folder = tiny_study / "report" / "figures"
        drawn = {path.stem for path in folder.iterdir()}
        assert {"anytime", "cost_by_phase", "accuracy_macs", "accuracy_per_hour", "sparsity_by_role"} <= drawn
        assert {path.name for path in folder.iterdir()} == {
            f"{name}.{e}" for name in drawn for e in ("png", "svg", "csv")
        }
        for path in folder.iterdir():
            head = path.read_bytes()[:400]
            if path.suffix != ".csv":
                assert head.startswith(b"\x89PNG") if path.suffix == ".png" else b"<svg" in path.read_bytes()[:2000]

    def test_every_table_twice_and_equal(self, tiny_study):
        folder = tiny_study / "report" / "tables"
        names = {path.stem for path in folder.glob("*.csv")}
        assert {path.name for path in folder.glob("*.tex")} == {"networks.tex", "verdict.tex"}
        assert {"networks", "attempts", "jobs", "cost_by_phase", "verdicts"} <= names
        assert {p.name for p in folder.iterdir() if p.suffix != ".tex"} == {
            f"{n}.{e}" for n in names for e in ("csv", "parquet")
        }
        for name in names:
            csv_rows = len((folder / f"{name}.csv").read_text().splitlines()) - 1
            assert len(pd.read_parquet(folder / f"{name}.parquet")) == csv_rows

    def test_a_folder_for_every_network(self, tiny_study):
        expected = {tiny_study / "models" / str(t) / label / "0" for t in TARGETS for label in LABELS}
        assert set(models(tiny_study)) == expected
        for model in models(tiny_study):
            files = {"model.safetensors", "model.py", "architecture.json", "metrics.json", "README.md"}
            sparse = (
                {"model.sparse.safetensors"} if model.parent.name in ("prune", "scratch_pruned_structure") else set()
            )
            assert {path.name for path in model.iterdir()} == files | sparse

    def test_nothing_resumable_or_temporary_is_left(self, tiny_study):
        left = [p for p in tiny_study.rglob("*") if p.name == "resume.pt" or p.name.endswith(".part")]
        assert left == []
        assert not (tiny_study / ".tune").exists()
        assert not list(tiny_study.glob("checkpoints/*candidate*")), "a candidate's weights are not used again"


class TestNetworks:
    def test_the_card_and_the_files_alone_give_the_recorded_test_top1(self, tiny_study, tmp_path):
        (tmp_path / "reproduce.py").write_text(REPRODUCE)
        done = subprocess.run(
            [sys.executable, tmp_path / "reproduce.py", fashion_mnist_mini.FILE, *models(tiny_study)],
            cwd=tmp_path, capture_output=True, text=True, timeout=200, check=True,
            env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        lines = done.stdout.splitlines()
        assert len(lines) == len(models(tiny_study)) == 8
        for model, line in zip(models(tiny_study), lines, strict=True):
            assert line == f"{metrics(model)['test_top1']} False []", model

    def test_are_within_their_targets(self, tiny_study):
        for model in models(tiny_study):
            assert 0 < metrics(model)["macs"] <= int(model.parts[-3])

    def test_pruned_ones_use_their_target(self, tiny_study):
        for target in TARGETS:
            assert metrics(tiny_study / "models" / str(target) / "prune" / "0")["macs"] > 0.999 * target

    def test_macs_are_those_of_the_nonzero_weights_counted_by_hand(self, tiny_study):
        from accounting.macs.count import count_macs
        from harness.models.build import build_network

        for model in models(tiny_study):
            spec = json.loads((model / "architecture.json").read_text())
            weights = load_file(model / "model.safetensors")
            report = count_macs(build_network(spec["network"]), tuple(spec["image_shape"]))
            by_hand = sum(
                layer.macs * int(np.count_nonzero(weights[f"{layer.name}.weight"])) // weights[f"{layer.name}.weight"].size
                for layer in report.layers
            )  # fmt: skip
            assert metrics(model)["macs"] == by_hand
            assert metrics(model)["dense_macs"] == report.macs

    def test_pruned_weights_are_exact_zeros_where_the_masks_say(self, tiny_study):
        for target in TARGETS:
            masks = load_file(tiny_study / f"checkpoints/prune-r0-t{target}-global_magnitude-prune/masks.safetensors")
            for label in ("prune", "scratch_pruned_structure"):
                weights = load_file(tiny_study / "models" / str(target) / label / "0" / "model.safetensors")
                for name, mask in masks.items():
                    assert not weights[name][mask == 0].any()
                    assert weights[name][mask == 1].all(), "a kept weight is trained, not zero"
            assert sum(int((mask == 0).sum()) for mask in masks.values()) > 10_000

    def test_are_the_best_of_their_route_on_validation(self, tiny_study):
        view = derive(read_ledger(tiny_study / "ledger").records)
        for target in TARGETS:
            retrained = [j for j in view.jobs if j.route == "search" and j.phase == "retrain" and j.target == target]
            best = max(retrained, key=lambda job: job.outcome["val_top1"])
            delivered = metrics(tiny_study / "models" / str(target) / "search" / "0")
            assert delivered["val_top1"] == best.outcome["val_top1"]
            assert len(retrained) == 2


class TestLedger:
    def test_audit_finds_nothing(self, tiny_study):
        found = audit(read_ledger(tiny_study / "ledger").records)
        assert found.ok, found.findings

    def test_every_job_has_one_attempt_that_was_ok(self, tiny_study):
        view = derive(read_ledger(tiny_study / "ledger").records)
        assert len(view.jobs) == 24
        assert all(job.status == "ok" and len(job.attempts) == 1 for job in view.jobs)
        assert Counter(job.phase for job in view.jobs) == {
            "pretrain": 1, "prune": 2, "finetune": 2, "search": 3, "retrain": 8, "evaluate": 8,
        }  # fmt: skip

    def test_cost_is_conserved(self, tiny_study):
        ledger = read_ledger(tiny_study / "ledger")
        view = derive(ledger.records)
        for attempt in view.attempts:
            parts = attempt.productive_s + attempt.overhead_s + attempt.lost_s
            assert parts == pytest.approx(attempt.allocated_s)
            assert attempt.allocated_s == pytest.approx(attempt.end_t - attempt.begin_t), "one core was held"
        (balance,) = audit(ledger.records).balances
        assert balance.allocated_s == pytest.approx(sum(attempt.allocated_s for attempt in view.attempts))
        assert balance.allocated_s + balance.idle_s == pytest.approx(balance.capacity_s, rel=0.01)
        assert view.unit == "cpu_core_hours"

    def test_costs_in_the_tables_are_those_of_the_ledger(self, tiny_study):
        view = derive(read_ledger(tiny_study / "ledger").records)
        table = pd.read_parquet(tiny_study / "report" / "tables" / "attempts.parquet")
        rows, sums = table[table["attempt"] != "total"], table[table["attempt"] == "total"]
        assert set(rows["attempt"]) == {attempt.attempt for attempt in view.attempts}
        hours = [c for c in table.columns if c.startswith("allocated")]
        scale = 1 if hours[0].endswith("_s") else 3600
        total = sum(attempt.allocated_s for attempt in view.attempts)
        assert rows[hours[0]].sum() * scale == pytest.approx(total)
        assert sums[hours[0]].tolist() == pytest.approx([total / scale])

    def test_one_meter_and_one_unit(self, tiny_study):
        started = records(tiny_study, Kind.ATTEMPT_STARTED)
        assert {record["meter"] for record in started} == {"wall_clock"}

    def test_each_epoch_is_on_record(self, tiny_study):
        epochs = Counter(record["attempt"].split("#")[0] for record in records(tiny_study, Kind.PROGRESS))
        assert epochs["prune-r0-pretrain"] == 2
        assert epochs["search-r0-candidate-000"] == 1
        assert epochs["scratch-r0-t600000-pruned_structure-retrain"] == 4, "as long as pretrain and finetune together"


@pytest.fixture
def copied(tiny_study, tmp_path):
    return shutil.copytree(tiny_study, tmp_path / "tiny")


class TestRunAgain:
    def test_does_no_job_and_changes_no_network(self, tiny, copied, snapshot):
        before = snapshot(copied / "models") | snapshot(copied / "checkpoints")
        answers = json.loads((copied / "report" / "answer.json").read_text())["answers"]
        attempts = len(records(copied, Kind.ATTEMPT_STARTED))
        run(tiny, copied, all_images=True)
        assert len(records(copied, Kind.ATTEMPT_STARTED)) == attempts
        assert snapshot(copied / "models") | snapshot(copied / "checkpoints") == before
        again = json.loads((copied / "report" / "answer.json").read_text())["answers"]
        assert [a["policies"] for a in again] == [a["policies"] for a in answers]
        assert audit(read_ledger(copied / "ledger").records).ok

    def test_a_changed_config_is_refused(self, tiny, copied, snapshot):
        before = snapshot(copied)
        tiny["recipe"]["lr"] = 0.06
        with pytest.raises(
            InputError, match=r"recipe.lr: 0.05 in the study, 0.06 given; keep 0.05, or start another study"
        ):
            run(tiny, copied, all_images=True)
        assert snapshot(copied) == before

    def test_a_changed_file_of_the_search_space_is_refused(self, tiny, tmp_path, snapshot):
        space = tmp_path / "mine.yaml"
        space.write_text(yaml.safe_dump(load_space("fbnetv3_mini").data))
        tiny["replicates"], tiny["routes"] = 1, {"search": tiny["routes"]["search"] | {"space": str(space)}}
        run(tiny, tmp_path / "study")
        run(tiny, tmp_path / "study")
        before = snapshot(tmp_path / "study")
        space.write_text(yaml.safe_dump(load_space("fbnetv3_mini").data | {"width_divisor": 4}))
        with pytest.raises(InputError, match="was changed since; restore it"):
            run(tiny, tmp_path / "study")
        assert snapshot(tmp_path / "study") == before

    def test_other_resources_and_budgets_are_the_same_study(self, tiny, copied):
        run(tiny | {"budget": {"search": "9 h"}, "resources": {"max_attempts": 1}}, copied)

    def test_a_lost_outcome_is_done_again_and_gives_the_same(self, tiny, copied):
        """An attempt without an end counts as killed: it costs, and the job and the later ones are done again."""
        (segment,) = [
            path
            for path in (copied / "ledger").glob("*-worker-*.jsonl")
            if "prune-r0-t400000-global_magnitude-finetune#" in path.read_text()
        ]  # fmt: skip
        lines = segment.read_text().splitlines(keepends=True)
        attempt = '"attempt_ended"', "prune-r0-t400000-global_magnitude-finetune#"
        end = next(n for n, line in enumerate(lines) if all(words in line for words in attempt))
        segment.write_text("".join(lines[:end]) + lines[end][:20])
        before = metrics(copied / "models/400000/prune/0")
        weights = load_file(copied / "checkpoints/prune-r0-t400000-global_magnitude-finetune/weights.safetensors")
        run(tiny, copied, all_images=True)
        (job,) = [
            job for job in derive(read_ledger(copied / "ledger").records).jobs
            if job.job == "prune-r0-t400000-global_magnitude-finetune"
        ]  # fmt: skip
        assert len(job.attempts) == 2
        assert job.status == "ok"
        again = load_file(copied / "checkpoints/prune-r0-t400000-global_magnitude-finetune/weights.safetensors")
        assert all(np.array_equal(weights[name], again[name]) for name in weights)
        assert metrics(copied / "models/400000/prune/0") == before


class TestTestSplit:
    def test_is_read_once_for_each_delivered_network(self, tiny, tmp_path, monkeypatch):
        reads = Counter()
        plain = TensorSplit.batches

        def counted(self, batch_size, device, *, augment):
            reads[len(self), augment is None] += 1
            return plain(self, batch_size, device, augment=augment)

        monkeypatch.setattr(TensorSplit, "batches", counted)
        tiny["targets"] = ["0.6M"]
        tiny["routes"]["search"]["strategy"] = {"name": "random", "num_trials": 1}
        run(tiny, tmp_path / "study")
        assert reads[NUM_TEST, True] == len(models(tmp_path / "study")) == 4
        assert reads[NUM_TEST, False] == 0
