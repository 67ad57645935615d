from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from fake_study import CANDIDATE_H, PRETRAIN_H, Timeline

from accounting.ledger.store import LedgerWriter
from benchmarks.ledgers import Size, write_study
from reports.data.frames import load_frames
from reports.errors import NotAStudy


def test_hours_and_units(frames):
    assert frames.unit == "cpu_core_hours"
    attempts = frames.attempts
    assert attempts["allocated_h"].sum() == pytest.approx(
        3 * PRETRAIN_H + sum(CANDIDATE_H) + 12 * 0.21 + 12 * 0.36 + 0.1
    )
    parts = attempts[["productive_h", "overhead_h", "lost_h"]].sum(axis=1)
    assert parts.to_numpy() == pytest.approx(attempts["allocated_h"].to_numpy())
    assert attempts["lost_h"].sum() == pytest.approx(0.1 * 0.9)  # overhead until work began, then lost


def test_costs_of_delivered_networks(frames):
    networks = frames.networks.set_index(["label", "target", "replicate"]).sort_index()
    assert len(networks) == 4 * 2 * 3
    prune = networks.loc[("prune", 500_000, 0)]
    assert prune["cost_full_h"] == pytest.approx(3.63)
    assert prune["cost_free_h"] == pytest.approx(0.21)
    assert prune["cost_amortised_h"] == pytest.approx(1.92)
    assert prune["test_top1_per_h_full"] == pytest.approx(0.84 / 3.63)
    assert networks.loc[("search", 800_000, 2), "cost_full_h"] == pytest.approx(1.44 + 0.21)
    assert networks.loc[("scratch_family", 500_000, 0), "cost_full_h"] == pytest.approx(0.31)
    assert networks.loc[("scratch_pruned_structure", 800_000, 1), "cost_free_h"] == pytest.approx(0.41)


def test_the_later_delivery_takes_the_place_of_the_one_before(make_study):
    folder = make_study(replicates=1)
    before = load_frames(folder).networks.set_index(["label", "target"]).loc[("prune", 500_000)]
    job, line = "prune-r0-t500000-uniform_magnitude-finetune", []
    timeline = Timeline(line)
    timeline.t += 1e6
    timeline.train(job, "prune", "finetune", 500_000, 0, 0.2, (0.8, 0.9), 500_000)
    timeline.deliver("prune", "prune", 500_000, 0, job, 0.9, 0.89, name="a-later-evaluation")
    with LedgerWriter(folder / "ledger", "s1", "worker") as ledger:
        for kind, t, fields in line:
            ledger.append(kind, t=t, **fields)
    networks = load_frames(folder).networks
    assert len(networks) == 4 * 2
    after = networks.set_index(["label", "target"]).loc[("prune", 500_000)]
    assert (before["test_top1"], after["test_top1"], after["from_job"]) == (0.84, 0.89, job)
    assert after["cost_full_h"] == pytest.approx(before["cost_full_h"] + 0.21), "all that the route spent is charged"


def test_an_export_belongs_to_its_network_whatever_it_is_called(make_study):
    folder, trained, line = make_study(replicates=1), "prune-r0-t500000-global_magnitude-finetune", []
    timeline = Timeline(line)
    timeline.t += 1e6
    for name, label, size in (("any name", "prune", 300), ("another", "prune:global_magnitude", 700)):
        timeline.attempt(
            name, "prune", "export", 500_000, 0, 0.01, macs=500_000, init_from=trained,
            deliver={"label": label, "export": "onnx"}, outcome={"export": "onnx", "size_bytes": {"onnx": size}},
        )  # fmt: skip
    with LedgerWriter(folder / "ledger", "s1", "worker") as ledger:
        for kind, t, fields in line:
            ledger.append(kind, t=t, **fields)
    sizes = {(n.label, n.target): n.size_bytes for n in load_frames(folder).delivered if n.size_bytes}
    assert sizes == {("prune", 500_000): {"onnx": 300}}


def test_audited_frames_have_the_same_audit_and_no_records_of_allocations(tmp_path):
    write_study(tmp_path, Size(50))
    frames = load_frames(tmp_path)
    audited = frames.audited()
    kinds, left = ({record["kind"] for record in each.ledger.records} for each in (frames, audited))
    assert kinds - left == {"allocation_opened", "allocation_closed"}
    assert audited.audit == frames.audit and audited.audit.balances


def test_a_lost_attempt_is_charged_to_its_control(frames):
    networks = frames.networks.set_index(["label", "target", "replicate"]).sort_index()
    assert networks.loc[("scratch_family", 500_000, 1), "cost_full_h"] == pytest.approx(0.41)


def test_gpu_studies_are_in_gpu_hours(make_study):
    assert load_frames(make_study(replicates=1, cuda=True)).unit == "gpu_hours"


def test_an_empty_study_has_all_columns(make_study, frames):
    empty = load_frames(make_study(until_h=0))
    assert empty.networks.empty
    for name in ("attempts", "jobs", "networks", "progress", "sessions", "driver_work", "balances"):
        assert list(getattr(empty, name).columns) == list(getattr(frames, name).columns)


def test_not_a_study(tmp_path):
    with pytest.raises(NotAStudy, match="is not a folder"):
        load_frames(tmp_path / "absent")
    with pytest.raises(NotAStudy, match=r"no study\.yaml"):
        load_frames(tmp_path)
    path = tmp_path / "study.yaml"
    for text, message in [
        ("study: [", "cannot be read as YAML"),
        ("name: quickstart\n", "no `facts:` section"),
        ("study: {targets: [0.5M]}", "expected a list of MACs"),
        ("study: {targets: [5], replicates: 0}", "at least 1"),
        ("study: {targets: [5]}", "no ledger"),
    ]:
        path.write_text(text)
        with pytest.raises(NotAStudy, match=message) as error:
            load_frames(tmp_path)
        assert "\n" not in str(error.value)


def test_study_info(make_study):
    folder = make_study(replicates=1, routes=("prune",), budget={"prune": 0.5, "search": None})
    info = load_frames(folder).info
    assert info.targets == (500_000, 800_000)
    assert (info.routes, info.budget_h, info.dataset) == (("prune",), {"prune": 0.5}, "fashion_mnist_mini")
    document = yaml.safe_load((folder / "study.yaml").read_text())
    document["study"] |= {"dataset": "mnist", "routes": None, "budget": None}
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    assert load_frames(folder).info.dataset == "mnist"


def test_reports_import_neither_torch_nor_ray():
    ours = "reports.page.build, reports.page.render, reports.status.build, reports.status.text"
    code = f"import sys, {ours}; sys.exit(bool({{'torch', 'ray', 'timm'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
