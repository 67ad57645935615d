"""A declared parent is charged to every route that builds on it: as its teacher, or with its weights."""

from __future__ import annotations

import pytest
import yaml
from fake_study import LABEL_MACS, TEST, build_study

from reports.answers.study import JudgedStudy
from reports.data.frames import load_frames

DECLARED_H, CANDIDATE_H = 0.5, 0.3
PARENT = {"family": "f", "variant": "l", "declared_cost": f"{DECLARED_H} CPU core-hours", "source": "a paper"}


def search_on_the_parent(**spec):
    """A replicate of search, 0.3 h for all targets and 0.21 h for each; ``spec`` says how its trainings use the parent."""

    def write(line, r, targets):
        parent = f"prune-r{r}-pretrain"
        ties = {key: parent if value is None else {**value, "job": parent} for key, value in spec.items()}
        outcome = {"val_top1": 0.71, "macs": 450_000}
        line.attempt(f"search-r{r}-candidate-000", "search", "search", None, r, CANDIDATE_H, macs=450_000,
                     vals=(0.5, 0.71), outcome=outcome, **ties)  # fmt: skip
        for target in targets:
            job, macs = f"search-r{r}-t{target}-retrain-0", int(LABEL_MACS["search"] * target)
            outcome = {"val_top1": 0.86, "macs": macs, "dense_macs": macs, "params": 1, "nonzero_params": 1}
            line.attempt(
                job, "search", "retrain", target, r, 0.2, macs=macs, vals=(0.80, 0.86), outcome=outcome, **ties
            )
            line.deliver("search", "search", target, r, job, 0.86, TEST["search"][r % 3])

    return write


@pytest.mark.parametrize("spec", [{"teacher": {"name": "parent"}}, {"init_from": None}], ids=["taught", "started"])
def test_whoever_builds_on_it_pays_the_declared_price(spec, tmp_path):
    folder = build_study(tmp_path, routes=("prune", "scratch"), more={"search": search_on_the_parent(**spec)})
    document = yaml.safe_load((folder / "study.yaml").read_text())
    document["study"]["parent"] = PARENT
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    study = JudgedStudy(load_frames(folder))
    by_policy = study.verdicts.costs[500_000]["search"]
    own_h = 0.2 + 0.01
    charged = {policy: comparison.total["search"].value for policy, comparison in by_policy.items()}
    assert charged == {
        "full": pytest.approx(DECLARED_H + CANDIDATE_H + own_h),
        "free": pytest.approx(CANDIDATE_H + own_h),
        "amortised": pytest.approx((DECLARED_H + CANDIDATE_H) / 2 + own_h),
    }
    assert by_policy["full"].total["prune"].value == pytest.approx(DECLARED_H + own_h)
    assert {one.label for one in study.who_pays(500_000).parts if one.builds_on_parent} >= {"prune", "search"}
