"""Plans of a study: each is written once, they are read in order, and a file that is none is refused in one line."""

import json

import pytest

from accounting.study.folder import StudyFolder
from accounting.study.plans import NotAPlan, PlannedStep, StoredPlan, next_number, read_plans, store_plan
from accounting.words.names import Unit

PRETRAIN = PlannedStep("prune", "pretrain", None, 0, jobs=1, hours=2.0)
FINETUNE = PlannedStep("prune", "finetune", 500, 0, jobs=3, hours=1.5, jobs_done=1, spent_hours=0.25)


def plan(number, steps=(PRETRAIN, FINETUNE)):
    return StoredPlan(number, "s1", 10.0, "cpu", 1e9, 2.0, False, steps)


def test_plans_come_back_as_they_were_and_in_order(tmp_path):
    folder = StudyFolder(tmp_path)
    assert (read_plans(folder), next_number(folder)) == ((), 1)
    stored = [plan(1), plan(2, (FINETUNE,))]
    for each in reversed(stored):
        store_plan(folder, each)
    assert read_plans(folder) == tuple(stored)
    assert next_number(folder) == 3


def test_what_is_planned_of_the_whole_study_is_what_was_spent_and_what_is_left():
    assert plan(1).hours == 2.0 + 1.5 + 0.25
    assert (plan(1).num_jobs, plan(1).spent_hours) == (1 + 3 + 1, 0.25)
    without = PlannedStep("search", "search", None, 0, jobs=4, hours=None)
    assert plan(1, (PRETRAIN, without)).hours is None


def test_a_plan_is_never_written_over(tmp_path):
    store_plan(StudyFolder(tmp_path), plan(1))
    with pytest.raises(FileExistsError):
        store_plan(StudyFolder(tmp_path), plan(1, (FINETUNE,)))
    assert read_plans(StudyFolder(tmp_path)) == (plan(1),)


OLD = """{
 "format": 1,
 "number": 1,
 "session": "s1",
 "t": 10.0,
 "unit": "gpu_hours",
 "device": "cuda",
 "speed_macs_per_s": null,
 "num_devices": 2.0,
 "budget_caps_it": false,
 "steps": [
  {
   "route": "prune",
   "phase": "finetune",
   "target": 500,
   "replicate": 0,
   "jobs": 3,
   "hours": null,
   "jobs_done": 1,
   "spent_hours": 0.25
  }
 ],
 "note": "the driver's machine has no GPU"
}"""
"""A plan as the first version 0.1 wrote it: with ``number`` and ``unit`` besides the file name and the device."""


def test_a_plan_of_an_older_version_is_read(tmp_path):
    folder = StudyFolder(tmp_path)
    folder.plans.mkdir()
    (folder.plans / "plan-0001.json").write_text(OLD)
    step = PlannedStep("prune", "finetune", 500, 0, jobs=3, hours=None, jobs_done=1, spent_hours=0.25)
    (old,) = read_plans(folder)
    assert old == StoredPlan(1, "s1", 10.0, "cuda", None, 2.0, False, (step,), "the driver's machine has no GPU")
    assert old.unit is Unit.GPU_HOURS


def test_nothing_is_stored_twice(tmp_path):
    path = store_plan(StudyFolder(tmp_path), plan(7))
    assert not {"number", "unit"} & set(json.loads(path.read_text()))
    (read,) = read_plans(StudyFolder(tmp_path))
    assert (read.number, read.unit) == (7, Unit.CPU_CORE_HOURS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 1, "t": NaN}',
        '{"format": 3}',
        '{"format": 1, "number": 1}',
        '{"format": 2}',
        '{"format": 2, "steps": [{"route": 1}]}',
        "\xff",
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(text, tmp_path):
    path = store_plan(StudyFolder(tmp_path), plan(1))
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(NotAPlan, match=r"plan-0001\.json .*move it away$"):
        read_plans(StudyFolder(tmp_path))
    assert next_number(StudyFolder(tmp_path)) == 2
