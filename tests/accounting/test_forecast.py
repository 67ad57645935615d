"""The remaining cost of a study, worked out by hand: planned jobs that are not done, at the pace of finished ones."""

import pytest
from ledger_records import closed, ok, opened, start, work

from accounting.cost.attempts import derive
from accounting.cost.forecast import forecast
from accounting.study.plans import PlannedStep, StoredPlan

HOUR = 3600


def plan(*steps, t=0.0):
    return StoredPlan(1, "s1", t, "cpu", 1e9, 1.0, False, steps)


PLAN = plan(
    PlannedStep("prune", "pretrain", None, 0, jobs=1, hours=2.0),
    PlannedStep("prune", "finetune", 500, 0, jobs=4, hours=4.0),
    PlannedStep("prune", "evaluate", 500, 0, jobs=1, hours=0.5),
    PlannedStep("prune", "export", 500, 0, jobs=1, hours=0.25),
)


def ledger(*, until="tuned", reason=None):
    """Pretraining took 3 h where 2 were planned, the first of four fine-tunings 1.5 h; the second has run for 1 h."""
    records = [opened("s1", 1), start("s1", "a", "p", 1), work("a", 1), ok("a", 1 + 3 * HOUR)]
    if until == "tuned":
        records += [
            start("s1", "b", "f1", 3 * HOUR + 2, phase="finetune", target=500),
            ok("b", 4.5 * HOUR + 2),
            start("s1", "c", "f2", 4.5 * HOUR + 3, phase="finetune", target=500),
            work("c", 5.5 * HOUR + 3),
        ]
    return derive([*records, *([closed("s1", 9 * HOUR, reason)] if reason else [])])


def test_before_any_job_is_done_the_plan_is_the_forecast():
    found = forecast(PLAN, derive([opened("s1", 1)]), {}, 1)
    assert (found.left_h, found.jobs_left, found.pace, found.exports_left_h) == (6.75, 7, None, 0.25)


def test_jobs_of_a_phase_go_on_at_its_own_pace_and_others_at_that_of_all():
    found = forecast(PLAN, ledger(), {}, 1)
    assert found.pace == pytest.approx(4.5 / 3)
    tuning, evaluation, exports = 3 * 1.0 * 1.5 - 1.0, 0.5 * 1.5, 0.25 * 1.5
    assert found.left_h == pytest.approx(tuning + evaluation + exports, abs=1e-3)
    (route,) = found.routes
    assert (route.spent_h, route.left_h) == pytest.approx((5.5, tuning + evaluation), abs=1e-3)
    assert (found.jobs_left, found.exports_left_h) == (5, pytest.approx(exports))


def test_a_budget_ends_training_and_neither_evaluation_nor_exports():
    found = forecast(PLAN, ledger(), {"prune": 6.0}, 1)
    (route,) = found.routes
    assert (route.budget_h, route.left_h) == (6.0, pytest.approx(0.5 + 0.75, abs=1e-3))
    assert forecast(PLAN, ledger(), {"prune": 1.0}, 1).routes[0].left_h == pytest.approx(0.75)
    assert forecast(PLAN, ledger(), {"prune": 6.0}, 3).routes[0].budget_h == 18.0


def test_nothing_is_left_of_a_study_that_is_done_and_all_of_one_that_was_interrupted():
    assert forecast(PLAN, ledger(reason="done"), {}, 1).left_h == 0.0
    assert forecast(None, ledger(reason="done"), {}, 1).left_h == 0.0
    assert forecast(PLAN, ledger(until="pretrained", reason="interrupted"), {}, 1).left_h == pytest.approx(4.75 * 1.5)


@pytest.mark.parametrize("without", [None, plan(PlannedStep("prune", "pretrain", None, 0, jobs=1, hours=None))])
def test_without_a_plan_in_hours_what_is_left_is_not_known(without):
    found = forecast(without, ledger(), {"prune": 6.0}, 1)
    assert (found.left_h, found.jobs_left, found.pace) == (None, None, None)
    assert found.routes[0].spent_h == pytest.approx(5.5, abs=1e-3)


def test_what_was_done_before_an_extension_is_not_counted_again():
    later = plan(
        PlannedStep("prune", "pretrain", None, 0, jobs=0, hours=0.0, jobs_done=1, spent_hours=3.0),
        PlannedStep("prune", "finetune", 500, 0, jobs=4, hours=4.0),
        t=3 * HOUR + 1.5,
    )
    found = forecast(later, ledger(), {}, 1)
    assert (found.pace, found.jobs_left) == (pytest.approx(1.5), 3)
    assert found.left_h == pytest.approx(3 * 1.5 - 1.0, abs=1e-3)
