"""Jobs as values and as JSON: names, specs in old ledgers, identities of resume states."""

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from some_jobs import evaluation, job

from accounting.ledger.records import Kind
from accounting.ledger.store import read_ledger
from accounting.words.methods import Method
from harness.config.recipe import Recipe
from harness.jobs.identity import JobId
from harness.jobs.spec import DEFAULTS, from_json, to_json
from harness.jobs.start import Checkpoint, InheritedFrom, StateOf, StructureOf, WeightsOf
from harness.jobs.work import Export, Gradually, Prune, PruneRule, Scan, Score, Train, TrainSupernet
from harness.training.resume import identity_of

GOLDEN = Path(__file__).parents[1] / "golden"
RULE = PruneRule(Method("uniform", "lamp", "gradual"), 500, 0.01, 0.1, 8, ("role:depthwise",))


@pytest.mark.parametrize(
    ("id", "name"),
    [
        (JobId("prune", 0, None, "pretrain"), "prune-r0-pretrain"),
        (JobId("search", 12, 600_000, "retrain-1"), "search-r12-t600000-retrain-1"),
        (JobId("search", 0, 7, "retrain-1").then("evaluate", "search"), "search-r0-t7-retrain-1-evaluate-search"),
    ],
)
def test_a_name_is_made_of_route_replicate_target_and_step(id, name):
    assert str(id) == name
    assert JobId.named(name, id.route, id.replicate, id.target) == id


@pytest.mark.parametrize("place", [("search", 0, 7), ("prune", 1, 7), ("prune", 0, 70)])
def test_a_name_of_another_place_is_refused(place):
    with pytest.raises(ValueError, match="is not of"):
        JobId.named("prune-r0-t7-lamp-prune", *place)


JOBS = {
    "plain": job("a"),
    "stopped early": job("a", work=Train(Recipe(lr=0.3), stop_epoch=2)),
    "that leaves its state": job("a", phase="search", work=Train(Recipe(epochs=9), stop_epoch=3, leaves_state=True)),
    "that goes on": job("a", phase="search", work=Train(Recipe(epochs=9)), start=StateOf("b", 3)),
    "gradual": job("a", target=500, work=Train(Recipe(), gradually=Gradually(RULE, 900, 0.75)), start=WeightsOf("b")),
    "pruned": job("a", phase="prune", target=500, work=Prune(RULE), start=WeightsOf("b"), is_smaller=True),
    "a checkpoint": job("a", start=Checkpoint("/w.pt"), computed_macs=7),
    "inherited": job("a", start=InheritedFrom("s", {"builder": "supernet", "space": {}}, (0, 2, 1))),
    "shuffled": job("a", start=StructureOf("b", shuffled=True)),
    "a supernet": job("a", phase="supernet", work=TrainSupernet(Recipe(epochs=2))),
    "scores": job("a", phase="search", work=Score(((0, 1), (1, 0))), start=WeightsOf("s")),
    "a scan": job("a", phase="evaluate", work=Scan((0.5, 0.9), ("global_magnitude",)), start=WeightsOf("b")),
    "delivered": evaluation("prune", 500, start=WeightsOf("b")),
    "exported": job("a", phase="export", work=Export("int8", evaluation("prune", 500).work), start=WeightsOf("b")),
}


@pytest.mark.parametrize("name", JOBS)
def test_every_kind_of_job_reads_back_from_json_as_itself(name):
    given = JOBS[name]
    assert from_json(json.loads(json.dumps(to_json(given)))) == given


def specs_of(name, folder):
    with tarfile.open(GOLDEN / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    records = read_ledger(folder / name / "ledger").records
    return {r["job"]: r["spec"] for r in records if r["kind"] == Kind.ATTEMPT_STARTED}


@pytest.mark.parametrize("study", ["every_route", "prune_only"])
def test_specs_of_old_ledgers_are_read_and_written_as_they_were(study, tmp_path):
    specs = specs_of(study, tmp_path)
    assert len(specs) > 20
    for name, spec in specs.items():
        again = to_json(from_json(spec))
        assert {key: again[key] for key in spec} == spec, name


def test_states_of_trainings_that_an_older_version_began_are_still_theirs(tmp_path):
    for spec in specs_of("every_route", tmp_path).values():
        said = {key: value for key, value in spec.items() if key not in DEFAULTS or value != DEFAULTS[key]}
        then = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        assert identity_of(from_json(spec)) == then


def test_what_a_job_costs_is_no_part_of_what_it_does():
    given = JOBS["pruned"]
    assert identity_of(replace(given, computed_macs=5, is_smaller=False)) == identity_of(given)
