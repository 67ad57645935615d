"""In a study where every route learns from the parent, pruning with and without a teacher are both contenders."""

import pandas as pd
import pytest
import yaml
from inline_runs import run

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.store import read_ledger
from harness.config.study import parse_config
from harness.console.plan_summary import summarise
from harness.console.show_plan import format_plan

METHODS = ["global_magnitude", "global_magnitude+distilled"]


@pytest.fixture(scope="module")
def config(tiny_text):
    given = yaml.safe_load(tiny_text)
    given["targets"] = ["0.6M"]
    given["recipe"]["distill"] = {"teacher": "parent", "weight": 0.5, "temperature": 2}
    given["routes"]["prune"] = {"criterion": METHODS, "deliver": "each", "finetune": {"epochs": 1, "distill": "off"}}
    return given


@pytest.fixture(scope="module")
def study(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("taught") / "study"
    run(config, folder)
    return folder


def test_its_ledger_is_sound_and_says_who_taught(study):
    ledger = read_ledger(study / "ledger")
    assert [finding for finding in audit(ledger.records).findings if finding.severity == "error"] == []
    attempts = derive(ledger.records).attempts
    trained = [a for a in attempts if a.phase in ("search", "retrain", "finetune")]
    teachers = {a.job: (a.spec["teacher"] or {}).get("job") for a in trained}
    assert {job for job, teacher in teachers.items() if teacher is None} == {
        "prune-r0-t600000-global_magnitude-finetune"
    }
    assert set(teachers.values()) == {None, "prune-r0-pretrain"}
    pretrained_t = next(a.end_t for a in attempts if a.phase == "pretrain")
    assert all(a.begin_t >= pretrained_t for a in attempts if teachers.get(a.job))


def test_every_route_is_charged_for_the_parent_and_the_split_shows_it(study):
    charged = pd.read_csv(study / "report" / "tables" / "charged_by_phase.csv")
    of_parent = charged[charged["phase"] == "pretrain"].set_index("route")["allocated_cpu_core_hours"]
    assert set(of_parent.index) == {"prune", "search", "scratch"}
    assert of_parent.nunique() == 1
    spent = pd.read_csv(study / "report" / "tables" / "cost_by_phase.csv")
    assert len(spent[spent["phase"] == "pretrain"]) == 1  # counted once in what was spent


def test_both_methods_deliver(study):
    labels = {path.name for path in (study / "models" / "600000").iterdir()}
    assert {f"prune-{method}" for method in METHODS} <= labels


def test_it_goes_on_with_nothing_left_to_do(study, config):
    before = len(derive(read_ledger(study / "ledger").records).attempts)
    run(config, study)
    assert len(derive(read_ledger(study / "ledger").records).attempts) == before


def test_the_plan_names_the_teacher_and_its_share(config):
    summary = summarise(parse_config(config, "c"))
    (teacher,) = summary["teachers"]
    assert (teacher["teacher"], teacher["macs"]) == ("parent", 945_024)
    assert 0 < teacher["hours"] < summary["hours"]
    assert "forward passes of the teacher parent, 0.945024M MACs per image" in format_plan(summary)
    charged = {(row["route"], row["policy"]): row["hours"] for row in summary["per_target"]}
    assert charged["search", "full"] > charged["search", "free"] > 0
