"""Costs and accuracies of single methods, sparsity by role, predictions, and a network's figures in use, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from full_study import DENSE

from reports.data.frames import load_frames
from reports.measure.deployment import deployment_rows, deployments
from reports.measure.methods import method_networks, method_rows, parent_val_top1
from reports.measure.predictions import coverage, rank_correlation
from reports.measure.pruned_layers import COLUMNS, by_role, pruned_layers, role_rows


@pytest.fixture(scope="module")
def costs(full_frames):
    return full_frames.networks.set_index(["label", "target", "replicate"]).sort_index()


def cost_of(costs, label, policy):
    return costs.loc[(label, 500_000, 0), f"cost_{policy}_h"]


@pytest.mark.parametrize(
    ("label", "own_h"),
    [
        ("prune:global_lamp", 0.02 + 0.2 + 0.01),
        ("prune:channels_magnitude", 0.02 + 0.2 + 0.01),
        ("prune:global_magnitude+gradual", 0.2 + 0.01),
    ],
)
def test_a_method_pays_for_the_jobs_that_led_to_it(costs, label, own_h):
    assert cost_of(costs, label, "full") == pytest.approx(3.4 + own_h)
    assert cost_of(costs, label, "free") == pytest.approx(own_h)
    assert cost_of(costs, label, "amortised") == pytest.approx(3.4 / 2 + own_h)


def test_a_route_pays_for_all_of_it(costs):
    # five methods: four of 0.02 + 0.2 + 0.01, a gradual one of 0.2 + 0.01; the best is evaluated again
    assert cost_of(costs, "prune", "free") == pytest.approx(4 * 0.23 + 0.21 + 0.01)
    assert cost_of(costs, "prune", "full") == pytest.approx(3.4 + 1.14)
    assert cost_of(costs, "supernet", "full") == pytest.approx(0.6 + 0.21)
    assert cost_of(costs, "supernet", "amortised") == pytest.approx(0.3 + 0.21)
    assert cost_of(costs, "search_then_prune", "full") == pytest.approx(0.4 + 0.2 + 0.23)


def test_a_control_pays_for_its_own_training(costs):
    for policy in ("full", "free", "amortised"):
        assert cost_of(costs, "scratch_pruned_structure", policy) == pytest.approx(0.31)


def test_every_attempt_and_round_of_the_lineage_counts(make_full_study):
    from accounting.ledger.records import Kind
    from accounting.ledger.store import LedgerWriter

    folder = make_full_study(methods=("global_magnitude+iterative", "global_magnitude+gradual"), replicates=1)
    frames = load_frames(folder)
    network = next(n for n in frames.delivered if n.label == "prune:global_magnitude+iterative" and n.target == 500_000)
    assert network.cost_h["free"] == pytest.approx(2 * 0.22 + 0.01)
    tuned = next(a for a in frames.view.attempts if a.job == network.from_job)
    with LedgerWriter(folder / "ledger", "s1", "late", clock=lambda: tuned.end_t) as writer:
        started = {"session": "s1", "attempt": "again", "job": tuned.job, "route": "prune", "phase": "finetune"}
        started |= {"target": tuned.target, "replicate": 0, "allocation": None, "devices": tuned.devices}
        writer.append(Kind.ATTEMPT_STARTED, t=tuned.end_t, **started, meter="m", network_macs=500_000, spec=tuned.spec)
        writer.append(Kind.ATTEMPT_ENDED, t=tuned.end_t + 360, attempt="again", status="failed", reason="disk full",
                      outcome=None, work_end_t=None, measurement=None)  # fmt: skip
    again = next(n for n in load_frames(folder).delivered if n.job == network.job)
    assert again.cost_h["free"] == pytest.approx(2 * 0.22 + 0.01 + 0.1)


def test_method_rows(full_frames):
    rows = {(row.target, row.label): row.columns() for row in method_rows(full_frames)}
    assert len(rows) == 2 * (5 + 4)
    lamp = rows[500_000, "prune:global_lamp"]
    assert (lamp["method"], lamp["scope"], lamp["criterion"], lamp["schedule"]) == (
        "global LAMP", "global", "lamp", "one_shot",
    )  # fmt: skip
    assert (lamp["test_top1_n"], lamp["val_before_n"], lamp["macs"]) == (3, 3, 500_000)
    assert lamp["val_before"] == pytest.approx(lamp["val_top1"] - 0.25 - 0.1)
    assert lamp["cost_full_h"] == pytest.approx(3.63)
    gradual = rows[500_000, "prune:global_magnitude+gradual"]
    assert (gradual["method"], gradual["schedule"], gradual["val_before"]) == ("global magnitude", "gradual", None)
    control = rows[800_000, "scratch_random_masks"]
    assert (control["schedule"], control["val_before"]) == (None, None)
    order = [row.test_top1.value for row in method_rows(full_frames) if row.target == 500_000]
    assert order == sorted(order, reverse=True)


def test_without_single_methods_there_is_no_such_table(frames):
    assert method_rows(frames) == []
    assert method_networks(frames).empty


def test_the_parent_is_the_pretrained_one(full_frames):
    estimate = parent_val_top1(full_frames)
    assert estimate.n == 3
    assert estimate.value == pytest.approx(DENSE, abs=0.003)


def test_roles_by_hand():
    # SE: 20 weights, 1 kept; expand: 10 weights of 10 MACs, 5 kept
    rows = [
        [5, "prune", "global_lamp", 0, 0, "a", "se", 10, 1, 10, 1],
        [5, "prune", "global_lamp", 0, 1, "b", "expand", 100, 50, 10, 5],
        [5, "prune", "global_lamp", 0, 2, "c", "se", 10, 0, 10, 0],
    ]
    layers = pd.DataFrame(rows, columns=COLUMNS)
    table = by_role(layers).set_index("role")
    assert table["sparsity"].to_dict() == pytest.approx({"se": 0.95, "expand": 0.5})
    assert table["share_before"].to_dict() == pytest.approx({"se": 20 / 120, "expand": 100 / 120})
    assert table["share_after"].to_dict() == pytest.approx({"se": 1 / 51, "expand": 50 / 51})
    assert [row.role for row in role_rows(layers)] == ["expand", "se"]
    second = layers.assign(replicate=1, num_kept=[3, 5, 0])  # SE: 85 % zeros
    se = role_rows(pd.concat([layers, second]))[1].columns()
    assert (se["sparsity"], se["sparsity_n"]) == (pytest.approx(0.9), 2)
    assert se["sparsity_low"] == pytest.approx(0.9 - 12.706205 * 0.0707107 / math.sqrt(2), abs=1e-5)
    assert se["sparsity_high"] == 1.0, "0.9 + 0.64 is cut at what a share can be"


def test_layers_are_those_of_the_last_round(make_full_study):
    methods = ("global_magnitude+iterative", "global_magnitude+gradual", "channels_magnitude")
    layers = pruned_layers(load_frames(make_full_study(methods=methods, replicates=1, without=("search_then_prune",))))
    assert set(layers["method"]) == {"global_magnitude+iterative"}
    assert layers.groupby("target")["position"].max().to_dict() == {500_000: 42, 800_000: 42}
    kept = layers.groupby("target")["kept_macs"].sum()
    assert kept[500_000] < kept[800_000]


def test_rank_correlation_and_coverage_by_hand():
    columns = ["route", "replicate", "predicted", "sd", "measured"]
    rows = [("search", 0, p, 0.01, m) for p, m in [(0.1, 0.11), (0.2, 0.19), (0.3, 0.33)]]
    rows += [("search", 1, p, 0.01, m) for p, m in [(0.1, 0.3), (0.2, 0.2), (0.3, 0.1)]]
    rows += [("search", 2, 0.5, 0.0, 0.5)]
    table = pd.DataFrame(rows, columns=columns)
    tau = rank_correlation(table)  # +1 and -1; a single candidate has no rank
    assert (tau.value, tau.n) == (pytest.approx(0.0), 2)
    share = coverage(table)  # 2 of 3 and 1 of 3 within 1.96 * 0.01; without a deviation there is no interval
    assert (share.value, share.n) == (pytest.approx(0.5), 2)
    assert rank_correlation(table.iloc[:0]).n == 0


def test_int8_is_paired_with_float(full_frames):
    rows = {(row.target, row.label): row.columns() for row in deployment_rows(full_frames)}
    prune = rows[500_000, "prune"]
    assert prune["int8_minus_float_test_top1"] == pytest.approx(-0.003, abs=0.001)
    assert prune["int8_minus_float_test_top1_n"] == 3
    assert (prune["size_float_kb"], prune["size_sparse_kb"], prune["size_onnx_kb"]) == (200.0, 90.0, None)
    assert (prune["device"], prune["int8_reason"]) == ("cpu", None)
    assert rows[500_000, "search"]["latency_ms"] < prune["latency_ms"]


def test_older_studies_have_no_deployment(frames):
    assert deployments(frames).empty
    assert deployment_rows(frames) == []


def test_no_int8_says_why(make_full_study, full_frames):
    import dataclasses

    network = full_frames.delivered[0]
    without = dataclasses.replace(
        network, int8={"test_top1": None, "size_bytes": None, "reason": "cannot trace"}, latency={}, size_bytes={}
    )
    (found,) = deployment_rows(dataclasses.replace(full_frames, delivered=(without,)))
    row = found.columns()
    assert (row["int8_reason"], row["int8_test_top1"], row["latency_ms"], row["device"]) == (
        "cannot trace", None, None, None,
    )  # fmt: skip
