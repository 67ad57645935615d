"""Networks at their own image sizes: what a job is shown, how it is counted, what is refused, old studies unchanged."""

import copy

import pytest
import torch

from accounting.macs.count import count_macs
from accounting.words.quantities import parse_macs
from harness.config.study import parse_config
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.data.loader_split import LoaderSplit
from harness.data.sized import info_at, splits_at
from harness.errors import InputError
from harness.jobs.job import Job
from harness.jobs.spec import from_json, to_json
from harness.models.build import build_network
from harness.plan import expected_jobs
from harness.training.workers import Shared
from harness.validation import check_study, make_routes
from nas_baseline.spaces import load_space
from nas_baseline.spaces.families import family_macs

CPU = torch.device("cpu")
CONFIG = {
    "name": "sizes",
    "dataset": {"name": "fashion_mnist_mini", "num_train": 200},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 1}, "image_size": 24},
    "targets": ["0.3M"],
    "replicates": 1,
    "recipe": {"batch_size": 50, "lr": 0.05, "epochs": 1},
    "routes": {
        "search": {"strategy": {"name": "random", "num_trials": 12}, "candidate": {"epochs": 1}, "num_predicted": 0,
                   "image_size": [20, 28]},
        "prune": {"criterion": ["channels_magnitude", "global_magnitude+distilled"]},
        "scratch": {}, "subnet_search": {}, "analysis": {},
    },
}  # fmt: skip


def changed(**sections):
    config = copy.deepcopy(CONFIG)
    for name, values in sections.items():
        config[name] = {**config[name], **values}
    return config


def viewed(config):
    return check_study(parse_config(config, "test"), need_data=False)


def facts(side, **others):
    return DataInfo((1, side, side), 10, (0.5,), (0.25,), 4, **others)


class TestImages:
    def test_are_resized_after_augmentation_with_antialiasing(self):
        """Striped images keep their mean, and neighbouring stripes of 0 and 1 are blended."""
        striped = torch.tensor([0, 255] * 4, dtype=torch.uint8).expand(4, 1, 8, 8)
        info = facts(8)
        split = TensorSplit(striped, torch.arange(4), info)
        sized = splits_at(Splits(info, split, split, split), 4)
        (images, labels), *more = sized.val.batches(4, CPU, augment=None)
        assert (images.shape, labels.tolist(), more) == ((4, 1, 4, 4), [0, 1, 2, 3], [])
        pixels = images * 0.25 + 0.5
        assert pixels.mean() == pytest.approx(0.5)
        assert pixels.min() > 0.3
        assert pixels.max() < 0.7

    def test_at_the_datasets_size_are_its_own(self):
        info = facts(8)
        splits = Splits(info, *[TensorSplit(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4), info)] * 3)
        assert splits_at(splits, None) is splits
        assert splits_at(splits, 8) is splits

    def test_that_workers_share_are_read_in_parts_where_the_dataset_can(self):
        info = facts(8)
        data = [(torch.full((1, 8, 8), float(i)), i) for i in range(4)]
        loaded = LoaderSplit(lambda augment: data, tuple(range(4)), 0)
        held = TensorSplit(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4), info)
        sized = splits_at(Splits(info, loaded, held, held), 6)
        assert (isinstance(sized.train, Shared), isinstance(sized.val, Shared)) == (True, False)
        (images, labels), *_ = sized.train.shares(4, CPU, augment=None, pick=lambda number, count: [1, 3], reader=0)
        assert (images.shape, labels.tolist()) == ((2, 1, 6, 6), [1, 3])

    def test_facts_say_what_was_decoded_and_how_it_is_resized(self):
        found = info_at(facts(28), 20)
        assert (found.image_shape, found.decoded_px, found.resize) == ((1, 20, 20), (28, 28), "stretch")
        cropped = info_at(facts(224, resize="shorter_side", crop_pct=0.875), 192)
        assert (cropped.resize, cropped.resize_px) == ("shorter_side", 256)


class TestCounts:
    def test_of_a_network_at_two_sizes(self):
        """All MACs of the mini space's convolutions are proportional to the area; the classifier's are not.

        The stem has stride 2, 3x3 weights and 1 to 8 channels: 14 * 14 * 72 = 14,112 at 28 pixels, 10 * 10 * 72 at 20.
        """
        spaces = {side: load_space("fbnetv3_mini", image_size=side) for side in (20, 28)}
        both = load_space("fbnetv3_mini", image_size=[20, 28])
        arch = tuple(0 for _ in both.dimensions)
        spec = both.network_spec(arch)
        stem = {side: count_macs(build_network(spec), (1, side, side)).layers[0].macs for side in spaces}
        assert stem == {20: 7_200, 28: 14_112}
        assert both.macs((0, *arch[1:])) == spaces[20].macs(arch) == count_macs(build_network(spec), (1, 20, 20)).macs
        assert both.macs((1, *arch[1:])) == spaces[28].macs(arch) == count_macs(build_network(spec), (1, 28, 28)).macs

    def test_of_every_job_are_those_of_its_own_size(self):
        view = viewed(CONFIG)
        jobs = [planned.job for planned in expected_jobs(view, "cpu")]
        sides = {route: {job.image_size for job in jobs if job.route == route} for route in {job.route for job in jobs}}
        assert sides == {
            "search": {20, 28}, "prune": {24}, "subnet_search": {24}, "analysis": {24}, "scratch": {24},
        }  # fmt: skip
        for job in (job for job in jobs if job.route == "search" or job.phase == "pretrain" if job.phase != "evaluate"):
            shape = (1, job.image_size, job.image_size)
            assert job.counted_macs == count_macs(build_network(job.network), shape).macs, job.name
        taught = [job for job in jobs if job.teacher is not None]
        assert taught
        assert {job.teacher.image_shape for job in taught} == {(1, 24, 24)}
        assert {job.teacher.macs for job in taught} == {view.parent_macs}

    def test_fbnetv3_c_at_248_meets_a_at_224(self):
        """The paper's pair: the parent and its sibling at their own sizes, and a search over the space's sizes."""
        view = viewed(changed(
            dataset={"name": "image_folder", "path": "nowhere", "image_size": 272, "num_classes": 1000,
                     "num_train": 1_281_167},
            parent={"family": "fbnetv3", "variant": "c", "image_size": 248},
            routes={"search": {"space": "fbnetv3", "image_size": "space", "strategy": {"name": "random", "num_trials": 3}},
                    "prune": {"criterion": "global_magnitude"}, "scratch": {"pruned_structure": False},
                    "subnet_search": None, "analysis": None},
        ) | {"targets": ["355.52M"]})  # fmt: skip
        assert view.parent_macs == family_macs("fbnetv3", "c", size=248)
        (scratch,) = [route for route in make_routes(view, 0) if route.name == "scratch"]
        sibling = scratch.ask()
        assert isinstance(sibling, Job)
        assert (sibling.image_size, sibling.counted_macs) == (224, family_macs("fbnetv3", "a", size=224))
        assert sibling.counted_macs <= parse_macs("355.52M")


REFUSED = {
    "a parent larger than the images": (
        changed(parent={"image_size": 32}), "parent.image_size: 32 given, and the dataset gives 28"),
    "candidates larger than the images": (
        changed(routes={"search": {"image_size": [24, 32]}}), "search.image_size: up to 32 pixels a side, and the dataset"),
    "a supernet": (
        changed(routes={"search": {"image_size": [20, 28], "strategy": {"name": "supernet"}}}),
        "routes.search.image_size: supernet shares weights"),
    "falling sizes": (changed(routes={"search": {"image_size": [28, 20]}}), "sizes must rise"),
    "no size": (changed(routes={"search": {"image_size": []}}), "sizes must rise"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_line(case):
    config, line = REFUSED[case]
    with pytest.raises(InputError, match=line):
        viewed(config)


def test_jobs_without_a_size_are_written_as_before_and_others_come_back():
    with_sizes = [planned.job for planned in expected_jobs(viewed(CONFIG), "cpu")]
    assert [from_json(to_json(job)) for job in with_sizes] == with_sizes
    config = changed(routes={"search": {"strategy": {"name": "random", "num_trials": 4}}})
    del config["parent"]["image_size"]
    assert not any("image_size" in to_json(planned.job) for planned in expected_jobs(viewed(config), "cpu"))
