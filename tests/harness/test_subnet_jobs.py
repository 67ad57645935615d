"""Jobs on parts of a trained network: scores on half of validation, training that starts from a part, and JSON."""

import json

import pytest
import torch
from crews import in_crew
from some_jobs import job
from test_execute import SPEC, place, pretrain  # noqa: F401

from accounting.ledger.parts import macs_of
from accounting.ledger.records import Phase
from accounting.macs.count import count_macs
from harness.config.recipe import Recipe
from harness.data.base import DataInfo
from harness.data.registry import open_dataset
from harness.jobs.spec import from_json, to_json
from harness.jobs.start import InheritedFrom, WeightsOf
from harness.jobs.work import Score, Train
from harness.models.build import build_network, load_tensors
from harness.models.parts import parts_of
from harness.training.loop import seed_everything
from harness.training.workers import ALONE
from harness.work import subnets, supernet
from harness.work.attempt import execute
from harness.work.bench import Bench
from harness.work.price import OVERHEAD_S, price_s
from pruning.resize import fit_to_state
from pruning.subnets import Subnets

pytest.importorskip("torch_pruning")
SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def parts():
    return parts_of(SPEC, SHAPE)


def whole(parts):
    return (*(group.width for group in parts.groups), *[1] * len(parts.blocks))


def half(parts):
    return (*(max(1, group.width // 2) for group in parts.groups), *[1] * len(parts.blocks))


def score(members, images):
    work = Score(tuple(members), images)
    return job(
        f"scores-{images}", "subnet_search", Phase.SEARCH, network=SPEC, work=work, start=WeightsOf("prune-r0-p")
    )


def finetune(parts, member):
    return job(
        "tuned", "subnet_search", Phase.FINETUNE, 1, network=SPEC, work=Train(Recipe(epochs=0, batch_size=50)),
        counted_macs=macs_of(parts, member), is_smaller=True, start=InheritedFrom("prune-r0-p", SPEC, member),
    )  # fmt: skip


def test_parts_are_found_without_a_trace_in_random_numbers(parts):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    parts_of(SPEC, (1, 32, 32))
    assert torch.equal(torch.rand(1), expected)
    assert parts.macs == count_macs(build_network(SPEC), SHAPE).macs


def test_scores_of_both_halves_are_those_of_the_whole_split(place, parts):  # noqa: F811
    execute(pretrain(), place)
    found = {
        images: execute(score([whole(parts), half(parts)], images), place).metrics
        for images in ("first", "second", None)
    }
    val = open_dataset(place.dataset).splits().val
    assert [found[images]["num_val"] for images in ("first", "second", None)] == [
        len(val) // 2, len(val) // 2, len(val),
    ]  # fmt: skip
    for first, second, both in zip(*(found[images]["scores"] for images in ("first", "second", None)), strict=True):
        assert (first + second) / 2 == pytest.approx(both, abs=0.02), "but for the order of images in batch norm's sums"
    assert not place.paths.weights("subnet_search-r0-scores-first").exists()


def test_a_training_starts_from_a_part_of_the_parent(place, parts):  # noqa: F811
    execute(pretrain(), place)
    member = half(parts)
    outcome = execute(finetune(parts, member), place)
    assert outcome.metrics["macs"] == outcome.metrics["dense_macs"] == macs_of(parts, member)
    parent = fit_to_state(build_network(SPEC), load_tensors(place.paths.weights("prune-r0-p")))
    state = Subnets(parent, SHAPE).state(member)
    kept = load_tensors(place.paths.weights("subnet_search-r0-t1-tuned"))
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in state.items() if "running" not in name)


def test_as_json_and_back(parts):
    for each in (score([half(parts)], "second"), score([half(parts)], None), finetune(parts, half(parts))):
        assert from_json(json.loads(json.dumps(to_json(each)))) == each
    assert "score_half" not in to_json(score([half(parts)], None))


def test_workers_score_parts_together_as_one_does(place, parts, tmp_path, monkeypatch):  # noqa: F811
    execute(pretrain(), place)
    asked, splits, sizes = score([whole(parts), half(parts)], "first"), open_dataset(place.dataset).splits(), []
    device, real = torch.device("cpu"), subnets.evaluate

    def counted(model, images, task, device, crew=ALONE):
        sizes.append(crew.size)
        return real(model, images, task, device, crew)

    monkeypatch.setattr(subnets, "evaluate", counted)

    def scores(crew):
        seed_everything(5, 0)
        bench = Bench(asked, place.paths, splits, device, lambda epochs: None, lambda epoch: None, crew)
        return supernet.score(asked.work, bench)["scores"], sizes

    alone, _ = scores(ALONE)
    (first, sizes_seen), (second, _) = in_crew(2, tmp_path / "crew", scores)
    assert first == second == pytest.approx(alone, abs=0.01)
    assert sizes_seen[-2:] == [2, 2]


def test_half_of_validation_takes_half_of_its_time(parts):
    """Two members: batch norm is recalibrated on 40 images, and 10 of 20 or all 20 are scored."""
    info = DataInfo(SHAPE, 10, (0.5,), (0.5,), 40, num_val=20)
    members = [whole(parts), half(parts)]
    seconds = {part: price_s(score(members, part), info, 1.0, "cpu") for part in ("first", "second", None)}
    macs = score(members, None).computed_macs
    assert seconds["first"] == seconds["second"] == pytest.approx(OVERHEAD_S["cpu"] + 2 * (40 + 10) * macs)
    assert seconds[None] == pytest.approx(OVERHEAD_S["cpu"] + 2 * (40 + 20) * macs)
