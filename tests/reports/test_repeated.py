"""Repeated work and the sentences about it, for ledgers written by hand."""

import pytest
from ledger_records import closed, failed, ok, opened, progress, start, work

from accounting.cost.attempts import derive
from reports.data.repeated import RunAgain, StoppedMidway, TrainedAgain, repeated_work
from reports.sentences.repeated import repeated_sentence


def found(*records):
    records = [opened("s", 0), *records, closed("s", 99)]
    return repeated_work(derive(records), records)


def said(*records):
    return [repeated_sentence(work) for work in found(*records)]


def cut_short(number, t, *epochs, begun=0):
    name = f"a{number}"
    epochs = [progress(name, t + 2 + epoch, epoch, num_epochs=9) for epoch in epochs]
    return [start("s", name, "job", t), work(name, t + 1, begun), *epochs]


def last(number, t, begun, **fields):
    name = f"a{number}"
    return [start("s", name, "job", t), work(name, t + 1, begun) | fields, ok(name, t + 9)]


def test_a_training_that_goes_on_repeats_nothing():
    assert said(*cut_short(1, 1, 1, 2, 3), *last(2, 20, 3)) == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"dropped": "it is damaged"}, "could not be trusted (it is damaged)"),
        ({}, "was gone"),
        ({"dropped": 7}, "was gone"),
    ],
)
def test_epochs_that_are_trained_again_are_counted_and_say_why(fields, why):
    [line] = said(*cut_short(1, 1, 1, 2, 3), *last(2, 20, 0, **fields))
    assert line.startswith("3 epochs were trained again in job, which is in the bill as lost work: the state")
    assert line.endswith(f"{why}.")


def test_a_state_whose_epoch_a_kill_kept_from_the_record_is_said_to_be_dropped():
    assert said(*cut_short(1, 1), *last(2, 20, 0)) == []
    [line] = said(*cut_short(1, 1), *last(2, 20, 0, dropped="it is damaged"))
    assert line == (
        "An epoch that is not on record was trained again in job, which is in the bill as lost work: the state of the "
        "attempt before could not be trusted (it is damaged)."
    )


def test_a_state_that_was_dropped_is_not_missed_twice():
    records = [*cut_short(1, 1, 1, 2, 3, 4), *cut_short(2, 20, 1), *last(3, 40, 1)]
    [line] = said(*records)
    assert line.startswith("4 epochs were")


def test_an_attempt_that_never_began_work_takes_nothing_away():
    assert said(*cut_short(1, 1, 1, 2), start("s", "a2", "job", 20), *last(3, 40, 2)) == []


def test_a_job_that_makes_its_files_again_is_one_line_and_its_epochs_are_no_second():
    again = [start("s", "a2", "job", 30) | {"again": "changed weights"}, work("a2", 31), ok("a2", 40)]
    assert said(*cut_short(1, 1, 1), ok("a1", 20), *again) == [
        "job was run again, which is in the bill as lost work: changed weights."
    ]


def test_what_was_repeated_is_told_apart_by_type():
    again = [start("s", "a2", "job", 30) | {"again": "changed weights"}, work("a2", 31), ok("a2", 40)]
    assert found(*cut_short(1, 1, 1), ok("a1", 20), *again) == (RunAgain("job", "changed weights"),)
    assert found(*cut_short(1, 1, 1, 2, 3), *last(2, 20, 1)) == (TrainedAgain("job", 2.0, None),)
    dropped = last(2, 20, 0, dropped="it is damaged")
    assert found(*cut_short(1, 1, 1), *dropped) == (TrainedAgain("job", 1.0, "it is damaged"),)


def test_a_job_that_its_budget_stopped_is_said_to_go_on():
    stopped = [*cut_short(1, 1, 1), failed("a1", 9, "stopped by its budget") | {"stopped": True}]
    assert found(*stopped) == (StoppedMidway("job", "stopped by its budget"),)
    assert said(*stopped) == [
        "job was stopped by its budget; what it has trained is kept, and a larger budget continues from there."
    ]
    assert found(*stopped, *last(2, 20, 1)) == ()
