"""What the jobs of each phase hold, and how many workers share them."""

import pytest

from accounting.ledger.records import Phase
from harness.config.phases import checked_shapes
from harness.config.resources import JobShape, ResourcesConfig
from harness.config.study import parse_config
from harness.errors import InputError


@pytest.mark.parametrize(
    ("given", "device", "phase", "shape"),
    [
        ({}, "cpu", Phase.PRETRAIN, JobShape(1, 4, 1)),
        ({"devices_per_job": 4}, "cpu", Phase.PRETRAIN, JobShape(4, 16, 1)),
        ({"devices_per_job": 4}, "cpu", Phase.EVALUATE, JobShape(4, 16, 1)),
        ({"devices_per_job": 4, "workers_per_job": 2}, "cpu", Phase.FINETUNE, JobShape(4, 16, 2)),
        ({"devices_per_job": 4, "workers_per_job": 2}, "cpu", Phase.PRUNE, JobShape(4, 16, 1)),
        ({"devices_per_job": 8}, "cuda", Phase.PRETRAIN, JobShape(8, 32, 8)),
        ({"devices_per_job": 8}, "cuda", Phase.EVALUATE, JobShape(1, 4, 1)),
        ({"devices_per_job": 0.25, "cpus_per_job": 2}, "cuda", Phase.SEARCH, JobShape(0.25, 2, 1)),
        ({"devices_per_job": 0.25}, "cuda", Phase.EXPORT, JobShape(0.25, 4, 1)),
        ({"devices_per_job": {"pretrain": 8, "search": 0.5}}, "cuda", Phase.PRETRAIN, JobShape(8, 32, 8)),
        ({"devices_per_job": {"pretrain": 8, "search": 0.5}}, "cuda", Phase.SEARCH, JobShape(0.5, 4, 1)),
        ({"devices_per_job": {"pretrain": 8, "search": 0.5}}, "cuda", Phase.FINETUNE, JobShape(1, 4, 1)),
    ],
)
def test_what_a_job_holds(given, device, phase, shape):
    assert ResourcesConfig.model_validate(given).shape(phase, device) == shape


def test_cores_are_divided_between_workers():
    assert [JobShape(cores, 0, workers).threads for cores, workers in [(1, 1), (4, 1), (4, 2), (0.5, 1)]] == [
        1,
        4,
        2,
        1,
    ]


@pytest.mark.parametrize(
    ("given", "device", "says"),
    [
        (
            {"devices_per_job": 1.5},
            "cuda",
            "1.5 given for pretrain; a job has a share of one GPU",
        ),
        ({"devices_per_job": {"evaluate": 2}}, "cuda", "2 given for evaluate, whose jobs one worker does"),
        ({"workers_per_job": {"prune": 2}}, "cpu", "workers_per_job: 2 given for prune, whose jobs one worker does"),
        (
            {"devices_per_job": 3, "workers_per_job": 2},
            "cpu",
            "3 given for pretrain, which 2 workers cannot divide evenly",
        ),
        ({"devices_per_job": 0.5, "workers_per_job": 2}, "cpu", "0.5 given for pretrain, which 2 workers cannot"),
        (
            {"devices_per_job": 0.5, "workers_per_job": 2},
            "cuda",
            "2 given for pretrain on 0.5 GPUs; each GPU has one worker",
        ),
    ],
)
def test_what_does_not_fit_is_refused(given, device, says):
    with pytest.raises(InputError, match=says):
        ResourcesConfig.model_validate(given).shapes(device)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("devices_per_job", 0, "resources.devices_per_job: 0 given; allowed is a number above 0, at most 64"),
        ("devices_per_job", 0.00001, "resources.devices_per_job: 1e-05 given; the least share of a device is 0.001"),
        ("devices_per_job", {"search": 1e-9}, "1e-09 given for search; the least share of a device is 0.001"),
        ("devices_per_job", {"training": 2}, "'training' is not a phase; allowed here: pretrain, supernet, search"),
        ("devices_per_job", {"search": "2"}, "'2' given for search; allowed is a number"),
        ("workers_per_job", 1.5, "1.5 given; workers are a whole number"),
    ],
)
def test_a_malformed_number_is_one_line(tiny, key, value, says):
    with pytest.raises(InputError) as refused:
        parse_config(tiny | {"resources": {key: value}}, "tiny")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_batch_has_two_images_for_each_pass_of_each_worker(tiny):
    tiny["resources"] = {"devices_per_job": {"finetune": 4}, "workers_per_job": {"finetune": 4}}
    tiny["routes"]["prune"]["finetune"] |= {"accumulate": 7}
    with pytest.raises(InputError, match=r"routes.prune.finetune: batch_size is 50, for 4 worker.* to at least 56"):
        checked_shapes(parse_config(tiny, "tiny"), "cpu")
    tiny["routes"]["prune"]["finetune"] |= {"accumulate": 6}
    assert checked_shapes(parse_config(tiny, "tiny"), "cpu")[Phase.FINETUNE] == JobShape(4, 16, 4)
