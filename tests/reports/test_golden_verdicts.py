"""Small studies whose verdicts are worked out by hand here.

Each training has two epochs, measured at 50 % and 100 % of its hours; costs are core-hours on one core. Its accuracy
rises from ``first`` to ``last`` between half and all of its hours. The margin is one point: a* is a point below the
lower median.
"""

from __future__ import annotations

import json
import math

import pytest
import yaml

from accounting.ledger.records import Kind
from accounting.ledger.store import LedgerWriter
from reports.answers.as_json import to_json
from reports.answers.find import answer_from_frames
from reports.answers.study import JudgedStudy
from reports.compare.rule import Verdict
from reports.data.frames import load_frames

T2 = 4.302653
"""t(0.975, 2), for three replicates."""
START = 1_760_000_000.0
TARGET = 500


class Written:
    """A ledger that is written job by job, with all jobs on one core."""

    def __init__(self, targets=(TARGET,)):
        self.records, self.t, self.count, self.targets = [], START, 0, targets

    def job(
        self,
        name,
        route,
        phase,
        replicate,
        hours,
        top1=(),
        *,
        target=TARGET,
        macs=TARGET,
        ok=True,
        outcome=None,
        spec=None,
    ):
        """Write one attempt; its accuracies are spread evenly up to its end."""
        self.count += 1
        attempt, begin, length = f"a{self.count}", self.t, hours * 3600
        started = {
            "session": "s", "attempt": attempt, "job": name, "route": route, "phase": phase, "target": target,
            "replicate": replicate, "allocation": None, "devices": {"c": 1.0}, "meter": "wall_clock",
            "network_macs": macs, "spec": spec or {},
        }  # fmt: skip
        self.records.append((Kind.ATTEMPT_STARTED, begin, started))
        self.records.append((Kind.WORK_BEGUN, begin, {"attempt": attempt, "epoch": 0}))
        for epoch, value in enumerate(top1, start=1):
            point = {
                "attempt": attempt, "epoch": epoch, "num_epochs": len(top1), "val_top1": value, "train_loss": 1.0,
                "checkpointed": False,
            }  # fmt: skip
            self.records.append((Kind.PROGRESS, begin + length * epoch / len(top1), point))
        self.t = begin + length
        given = outcome or {"val_top1": top1[-1] if top1 else None, "macs": macs}
        ended = {
            "attempt": attempt, "status": "ok" if ok else "failed", "reason": None if ok else "RuntimeError: killed",
            "outcome": given if ok else None, "work_end_t": self.t, "measurement": None,
        }  # fmt: skip
        self.records.append((Kind.ATTEMPT_ENDED, self.t, ended))

    def train(self, label, route, replicate, hours, first, last, *, target=TARGET, ok=True, deliver=True):
        """Write a training, and its evaluation, which takes no time."""
        name = f"{label}-r{replicate}-t{target}"
        phase = "finetune" if route == "prune" else "retrain"
        self.job(name, route, phase, replicate, hours, (first, last), target=target, macs=target, ok=ok)
        if deliver and ok:
            found = {
                "label": label, "val_top1": last, "test_top1": last, "macs": target, "dense_macs": 1000, "params": 1,
                "nonzero_params": 1, "from_job": name, "model_dir": "m", "description": label,
            }  # fmt: skip
            spec = {"init_from": name}
            self.job(
                f"{name}-evaluate",
                route,
                "evaluate",
                replicate,
                0.0,
                target=target,
                macs=target,
                outcome=found,
                spec=spec,
            )

    def shared(self, route, phase, replicate, hours):
        """Write work that serves all targets and measures no network."""
        self.job(f"{route}-r{replicate}-{phase}", route, phase, replicate, hours, target=None, macs=1000)

    def read(self, folder, *, replicates=3, reason="done", budget=None, classes=10):
        """The study as the reports read it."""
        capacity = [{"device": "c", "device_kind": "cpu_core", "amount": 1.0, "name": "core", "node": "n"}]
        opened = {"session": "s", "study": "golden", "capacity": capacity, "environment": {}}
        closed = {"session": "s", "reason": reason}
        with LedgerWriter(folder / "ledger", "s", "driver", clock=lambda: START) as writer:
            writer.append(Kind.SESSION_OPENED, t=START, **opened)
            for kind, t, fields in self.records:
                writer.append(kind, t=t, **fields)
            writer.append(Kind.SESSION_CLOSED, t=self.t, **closed)
        study = {
            "name": "golden", "dataset": {"name": "data"}, "targets": sorted(self.targets, reverse=True),
            "replicates": replicates, "routes": {"prune": {}, "search": {}, "scratch": {}}, "budget": budget or {},
        }  # fmt: skip
        text = yaml.safe_dump({"study": study, "data": {"num_classes": classes}})
        (folder / "study.yaml").write_text(text, encoding="utf-8")
        return load_frames(folder)


def headline(frames, target=TARGET):
    return JudgedStudy(frames).verdicts.costs[target]["search"]["full"]


def interval(ratios, t=T2):
    """The geometric mean and its bounds, by the formula for complete replicates."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = sum(logs) / len(logs)
    sd = max(math.sqrt(sum((log - mean) ** 2 for log in logs) / (len(logs) - 1)), 0.02)
    half = t * sd / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def two_routes(search_hours, prune_hours=(1.0, 1.0, 1.0)):
    """Both end at 0.85 and rise from 0.83, so a* = 0.84 is halfway between half and all of the hours: at 75 %."""
    study = Written()
    for r, (search, prune) in enumerate(zip(search_hours, prune_hours, strict=True)):
        study.train("prune", "prune", r, prune, 0.83, 0.85)
        study.train("search", "search", r, search, 0.83, 0.85)
    return study


def test_a_clear_win(tmp_path):
    # pruning 0.75 h each; search 0.75 · (4, 5, 6.25) h: ratios 4, 5 and 6.25, mean 5, sd of logs ln 1.25 = 0.2231
    costs = headline(two_routes([4.0, 5.0, 6.25]).read(tmp_path))
    assert costs.level == pytest.approx(0.84)
    assert costs.to_quality["prune"].value == pytest.approx(0.75)
    mean, low, high = interval([4.0, 5.0, 6.25])
    assert low == pytest.approx(5 * math.exp(-T2 * math.log(1.25) / math.sqrt(3)))  # 2.87
    assert [costs.cost_ratio.value, costs.cost_ratio.low, costs.cost_ratio.high] == pytest.approx([mean, low, high])
    assert (costs.verdict, costs.by_more) == (Verdict.BASE, True)  # 2.87 > 1.25


def test_a_tie(tmp_path):
    # ratios 0.98, 1, 1.02: sd of logs 0.020; 90 %: ± 2.920 · 0.020 / √3 = 0.034, within ln 1.25 = 0.223
    costs = headline(two_routes([0.98, 1.0, 1.02]).read(tmp_path))
    assert costs.verdict is Verdict.TIE
    assert costs.cost_ratio.high == pytest.approx(
        math.exp(math.log(0.98 * 1.02) / 3 + T2 * 0.020 / math.sqrt(3)), rel=1e-3
    )


def test_not_reached(tmp_path):
    """Search delivers in one of three replicates, so its median replicate has no network, and there is no a*."""
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.83, 0.85)
        study.train("search", "search", r, 2.0, 0.83, 0.85, deliver=r == 0, ok=r == 0)
    costs = headline(study.read(tmp_path))
    assert costs.verdict is Verdict.NOT_REACHED
    assert (costs.guarded.place, costs.level) == (1, None)
    said = to_json(answer_from_frames(load_frames(tmp_path), TARGET))
    assert said["verdict"] == "not_reached"
    assert "not reached: search" in said["sentence"]


def test_a_collapsed_route(tmp_path):
    """Pruning is at 0.10, search at 0.83: version 1 of the rules compared both at 0.10 and called pruning cheaper."""
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.10, 0.10)
        study.train("search", "search", r, 4.0, 0.80, 0.83)
    costs = headline(study.read(tmp_path))
    assert costs.verdict is Verdict.NOT_COMPARABLE
    assert costs.guarded.found == pytest.approx(0.10 - 0.83)
    assert "points (search has the higher), so accuracy is to be compared, not cost" in to_json(
        answer_from_frames(load_frames(tmp_path), TARGET)
    )["sentence"]  # fmt: skip


def test_both_at_chance(tmp_path):
    # a* = 0.11 - 0.01 = 0.10, below 0.10 + 0.05
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.10, 0.11)
        study.train("search", "search", r, 4.0, 0.10, 0.11)
    costs = headline(study.read(tmp_path))
    assert (costs.verdict, costs.guarded.obstacle) == (Verdict.NOT_COMPARABLE, "chance")


def test_a_budget_that_cuts_a_replicate_short(tmp_path):
    """Search delivers in three of four replicates, at ratios 2, 2.2 and 2; in the fourth it spends 3 h for nothing.

    There, search costs more than 3 h and pruning 0.75 h, so the ratio is above 4. All four replicates count.
    """
    study = Written()
    for r, hours in enumerate([2.0, 2.2, 2.0]):
        study.train("prune", "prune", r, 1.0, 0.83, 0.85)
        study.train("search", "search", r, hours, 0.83, 0.85)
    study.train("prune", "prune", 3, 1.0, 0.83, 0.85)
    study.shared("search", "search", 3, 3.0)
    costs = headline(study.read(tmp_path, replicates=4, budget={"search": 2.5}))
    assert (costs.num_entered, costs.num_reached) == ({"search": 4, "prune": 4}, {"search": 3, "prune": 4})
    assert costs.cost_ratio.n == 4
    # the three alone: 2.065; with a fourth ln ratio above ln 4, the mean of logs is at least (3 · 0.7249 + 1.3863) / 4
    assert costs.cost_ratio.value > math.exp((math.log(2 * 2.2 * 2) + math.log(4)) / 4)
    # and wider than if the fourth ratio were known to be 4
    _, low, high = interval([2.0, 2.2, 2.0, 4.0], 3.182446)
    assert math.log(costs.cost_ratio.high / costs.cost_ratio.low) > math.log(high / low)


def test_one_replicate(tmp_path):
    study = Written()
    study.train("prune", "prune", 0, 1.0, 0.83, 0.85)
    study.train("search", "search", 0, 3.0, 0.83, 0.85)
    costs = headline(study.read(tmp_path))
    assert (costs.cost_ratio.value, costs.cost_ratio.low) == (pytest.approx(3.0), None)
    assert costs.verdict is Verdict.INSUFFICIENT_EVIDENCE
    given = to_json(answer_from_frames(load_frames(tmp_path), TARGET))
    assert (given["provisional"], given["n"], given["replicates_planned"]) == (True, 1, 3)
    assert "(provisional: 1 of 3 replicates)" in given["sentence"]


def test_failures_inside(tmp_path):
    """A search attempt that fails after 1 h is paid for, and its accuracies count for no network.

    It had 0.85 after 0.5 h; the attempt that was kept reaches a* at 1 h + 75 % of its 2 h: 2.5 h against 0.75 h.
    """
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.83, 0.85)
        study.train("search", "search", r, 1.0, 0.85, 0.86, ok=False)
        study.train("search", "search", r, 2.0, 0.83, 0.85)
    costs = headline(study.read(tmp_path))
    assert costs.to_quality["search"].value == pytest.approx(2.5)
    assert costs.cost_ratio.value == pytest.approx(2.5 / 0.75)


def test_the_sibling_is_cheapest(tmp_path):
    """The family's network of that size, trained directly, also ends at 0.85 and costs 0.15 h.

    The ratios are 5 (pruning / sibling) and 20 (search / sibling). All replicates are alike, so the sd of logs is the
    floor of 0.02, and the interval of one claim is 5 · e^±(4.303 · 0.02 / √3) = 4.76 to 5.25.
    """
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.83, 0.85)
        study.train("search", "search", r, 4.0, 0.83, 0.85)
        study.train("scratch_family", "scratch", r, 0.2, 0.83, 0.85)
    costs = headline(study.read(tmp_path))
    assert costs.verdict is Verdict.NEITHER
    (instead,) = costs.instead
    assert instead.label == "scratch_family"
    half = T2 * 0.02 / math.sqrt(3)
    assert [instead.base_ratio.low, instead.base_ratio.high] == pytest.approx([5 * math.exp(-half), 5 * math.exp(half)])
    assert instead.challenger_ratio.value == pytest.approx(20.0)
    given = to_json(answer_from_frames(load_frames(tmp_path), TARGET))
    assert given["verdict"] == "neither"
    assert given["cheapest"]["contender"] == "scratch_family"
    assert given["cheapest"]["shown"] is True
    best = "small network trained directly is as accurate and cheaper"
    assert f"{best}: pruning costs 5.00× (4.76 to 5.25)" in given["sentence"]


def test_a_sibling_that_is_less_accurate_changes_nothing(tmp_path):
    # it ends at 0.835, more than a point below the better route's 0.85
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.83, 0.85)
        study.train("search", "search", r, 4.0, 0.83, 0.85)
        study.train("scratch_family", "scratch", r, 0.2, 0.83, 0.835)
    assert headline(study.read(tmp_path)).verdict is Verdict.BASE


def test_a_sibling_precedes_the_guards(tmp_path):
    """Search ends 8 points above pruning: alone, that is `not_comparable`, but the sibling is as accurate as search."""
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.75, 0.77)
        study.train("search", "search", r, 4.0, 0.75, 0.85)
        study.train("scratch_family", "scratch", r, 0.2, 0.75, 0.85)
    costs = headline(study.read(tmp_path))
    assert costs.guarded.obstacle == "apart"
    assert costs.verdict is Verdict.NEITHER


def test_three_targets_with_holm(tmp_path):
    """At 300, 400 and 500 MACs ratios are (2, 2.2, 2.42), (1.5, 1.7, 1.9) and (1, 1.3, 1.7).

    Their means are 2.2, 1.692 and 1.303. Standard errors of the logs: 0.0550, 0.0683 and 0.1533, so t = 14.33, 7.70
    and 1.73, p = 0.0048, 0.0165 and 0.2263. By Holm, 0.0048 < 0.05 / 3 and 0.0165 < 0.05 / 2 are shown; 0.2263 > 0.05
    is not.
    """
    ratios = {300: (2.0, 2.2, 2.42), 400: (1.5, 1.7, 1.9), 500: (1.0, 1.3, 1.7)}
    study = Written(targets=tuple(ratios))
    for target, of_target in ratios.items():
        for r, ratio in enumerate(of_target):
            study.train("prune", "prune", r, 1.0, 0.83, 0.85, target=target)
            study.train("search", "search", r, ratio, 0.83, 0.85, target=target)
    verdicts = JudgedStudy(study.read(tmp_path)).verdicts
    found = {target: verdicts.costs[target]["search"]["full"] for target in ratios}
    assert [found[t].alpha for t in ratios] == pytest.approx([0.05 / 3, 0.025, 0.05])
    assert [found[t].verdict for t in ratios] == [Verdict.BASE, Verdict.BASE, Verdict.INSUFFICIENT_EVIDENCE]
    # t(1 - 0.025 / 3, 2) = 7.649, t(0.9875, 2) = 6.205, t(0.975, 2) = 4.303
    for target, t in zip(ratios, (7.648870, 6.205347, T2), strict=True):
        assert found[target].cost_ratio.low == pytest.approx(interval(ratios[target], t)[1], rel=1e-5)
    # pooled: within a replicate (2 · 1.5 · 1)^⅓ = 1.442, (2.2 · 1.7 · 1.3)^⅓ = 1.694, (2.42 · 1.9 · 1.7)^⅓ = 1.985
    pooled = verdicts.pooled["search"]["full"]
    expected = interval([(2 * 1.5) ** (1 / 3), (2.2 * 1.7 * 1.3) ** (1 / 3), (2.42 * 1.9 * 1.7) ** (1 / 3)])
    assert [pooled.cost_ratio.value, pooled.cost_ratio.low, pooled.cost_ratio.high] == pytest.approx(expected, rel=1e-6)
    assert (pooled.verdict, pooled.num_targets) == (Verdict.BASE, 3)


def test_between_targets_that_do_not_lie_on_a_line(tmp_path):
    """Ratios 2, 8 and 2 at 300, 400 and 500 MACs: from its neighbours, 400 would have 2, a factor of 4 off."""
    study = Written(targets=(300, 400, 500))
    for target, ratio in ((300, 2.0), (400, 8.0), (500, 2.0)):
        for r in range(3):
            study.train("prune", "prune", r, 1.0, 0.83, 0.85, target=target)
            study.train("search", "search", r, ratio, 0.83, 0.85, target=target)
    given = to_json(answer_from_frames(study.read(tmp_path), 350))
    assert given["status"] == "refused"
    assert "misses measured cost ratios by up to 4.00×" in given["reason"]


def test_between_targets_that_do(tmp_path):
    # ln ratios 2, 2.1 and 2.2 are almost on a line in ln MACs
    study = Written(targets=(300, 400, 500))
    for target, ratio in ((300, 2.0), (400, 2.1), (500, 2.2)):
        for r in range(3):
            study.train("prune", "prune", r, 1.0, 0.83, 0.85, target=target)
            study.train("search", "search", r, ratio, 0.83, 0.85, target=target)
    given = to_json(answer_from_frames(study.read(tmp_path), 350))
    weight = math.log(400 / 300) / math.log(500 / 300)
    left_out = math.log(2.0) * (1 - weight) + math.log(2.2) * weight
    assert given["status"] == "interpolated"
    assert given["left_out_error"] == pytest.approx(math.exp(abs(left_out - math.log(2.1))))
    assert json.loads(json.dumps(given, allow_nan=False)) == given


def test_jobs_side_by_side_cost_what_they_would_one_after_another(tmp_path):
    """Two candidates run at once on two cores: the first reaches a* at its end, and is charged only for itself."""
    study = Written()
    for r in range(3):
        study.train("prune", "prune", r, 1.0, 0.83, 0.85)
        begin = study.t
        study.job(f"search-r{r}-c0", "search", "search", r, 2.0, (0.80, 0.84), target=None)
        study.t = begin + 1.0  # a second later, on another core
        study.job(f"search-r{r}-c1", "search", "search", r, 2.0, (0.50, 0.60), target=None)
        study.train("search", "search", r, 1.0, 0.83, 0.85)
    assert headline(study.read(tmp_path)).to_quality["search"].value == pytest.approx(2.0)


@pytest.mark.parametrize(("looks", "alpha"), [(0, 0.05), (1, 0.01), (2, 0.005)])
def test_extended_after_a_look(tmp_path, looks, alpha):
    study = two_routes([4.0, 5.0, 6.25])
    for look in range(looks):
        changes = [{"key": "replicates", "old": 1 + look, "new": 2 + look}]
        study.records.append((Kind.STUDY_EXTENDED, study.t + look, {"session": "s", "changes": changes}))
    study.t += looks
    costs = headline(study.read(tmp_path))
    assert costs.alpha == alpha
    assert costs.cost_ratio.low == pytest.approx(
        interval([4.0, 5.0, 6.25], {0.05: T2, 0.01: 9.924843, 0.005: 14.089047}[alpha])[1], rel=1e-5
    )
