"""When a study is extended, every route proposes the finished jobs again unchanged, and then only new ones."""

import copy
from dataclasses import replace

import pytest
from test_routes_contract import CONFIG, play

from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter
from accounting.study.folder import StudyFolder
from harness.config.study import parse_config
from harness.jobs.spec import to_json
from harness.jobs.work import Deliver
from harness.stored.content import Content
from harness.stored.study_file import Standing, check_folder, planned_of, write_study
from harness.validation import check_study

SEARCH = CONFIG["routes"]["search"]
ROUTES = {
    "prune": {"prune": CONFIG["routes"]["prune"]},
    "search_random": {"search": SEARCH},
    "search_regularized_evolution": {
        "search": {**SEARCH, "strategy": {"name": "regularized_evolution", "num_trials": 7}}
    },
    "search_predictor_evolution": {"search": {**SEARCH, "strategy": {"name": "predictor_evolution", "num_trials": 5}}},
    "supernet": {
        "prune": CONFIG["routes"]["prune"],
        "supernet": {"strategy": {"num_trials": 12, "options": {"first_batch": 6, "batch": 3}}, "inherit": True},
    },
    "search_then_prune": {
        "prune": CONFIG["routes"]["prune"],
        "search": SEARCH,
        "search_then_prune": {"larger": 1.3},
    },
    "subnet_search": {
        "prune": CONFIG["routes"]["prune"],
        "subnet_search": {
            "strategy": {"num_trials": 12, "options": {"first_batch": 6, "batch": 3}},
            "scored_per_job": 2,
            "finetune": {"epochs": 1},
        },
    },
    "scratch": {"prune": CONFIG["routes"]["prune"], "scratch": {"train": {"epochs": 4}}},
    "analysis": {"prune": CONFIG["routes"]["prune"], "analysis": {}},
}


def config_of(name, *edits):
    raw = copy.deepcopy(CONFIG) | {"routes": copy.deepcopy(ROUTES[name]), "targets": ["0.5M"], "replicates": 1}
    for edit in edits:
        edit(raw)
    return parse_config(raw, "extension")


def begun(name, folder):
    """Write a folder in which every job of the study was begun; returns those jobs."""
    config, paths = config_of(name), StudyFolder(folder)
    jobs = play(check_study(config, need_data=False), order=0)
    write_study(Standing(config, True, (), planned_of(config), {}, Content()), Content(), {}, paths)
    note(paths, jobs)
    return jobs


def note(paths, jobs):
    with LedgerWriter(paths.ledger, "s", "driver") as ledger:
        for job in jobs.values():
            ledger.append(
                Kind.ATTEMPT_STARTED, session="s", attempt=f"{job.name}#1", job=job.name, route=job.route,
                phase=job.phase, target=job.target, replicate=job.replicate, allocation=None, devices={"n/cpu": 1.0},
                meter="wall_clock", network_macs=job.counted_macs, spec=to_json(job),
            )  # fmt: skip


def extended(folder, name, *edits, replicate=0):
    """The jobs of the study extended in its folder; its study.yaml is that of the extension from then on."""
    paths = StudyFolder(folder)
    standing = check_folder(config_of(name, *edits), paths)
    view = replace(check_study(standing.config, need_data=False), searched=standing.searched)
    write_study(standing, Content(), {}, paths)
    return play(view, order=1, replicate=replicate)


def assert_reused(before, after):
    """Finished jobs are proposed again, word for word; the only exception is delivering a different best network."""
    for name in before.keys() & after.keys():
        assert to_json(before[name]) == to_json(after[name]), name
    places = {(job.target, job.work.label) for job in after.values() if isinstance(job.work, Deliver)}
    for name in before.keys() - after.keys():
        assert before[name].phase == Phase.EVALUATE, f"{name} is not asked for again"
        assert (before[name].target, before[name].work.label) in places
    delivered = {(job.target, job.work.label) for job in before.values() if isinstance(job.work, Deliver)}
    assert delivered <= places


def targets(*given):
    return lambda raw: raw.update(targets=list(given))


def criteria(*given):
    return lambda raw: raw["routes"].get("prune", {}).update(criterion=list(given))


def route(name, section):
    return lambda raw: raw["routes"].update({name: section})


@pytest.mark.parametrize("name", ROUTES)
class TestEveryRoute:
    @pytest.mark.parametrize("added", ["0.4M", "0.6M"])
    def test_an_added_target(self, name, added, tmp_path):
        before = begun(name, tmp_path)
        after = extended(tmp_path, name, targets("0.5M", added))
        assert_reused(before, after)
        new = [job for job in after.values() if job.name not in before]
        assert {job.target for job in new} <= {int(float(added[:-1]) * 10**6)}, "nothing that is shared is done again"
        labels = {job.work.label for job in before.values() if isinstance(job.work, Deliver)}
        assert {job.work.label for job in new if isinstance(job.work, Deliver)} == labels, "as much is delivered for it"

    def test_two_targets_one_after_the_other(self, name, tmp_path):
        before = begun(name, tmp_path)
        once = extended(tmp_path, name, targets("0.5M", "0.4M"))
        note(StudyFolder(tmp_path), once)
        twice = extended(tmp_path, name, targets("0.6M", "0.5M", "0.4M"))
        assert_reused(before, once)
        assert_reused(once, twice)
        assert twice.keys() > once.keys()

    def test_an_added_replicate_is_like_the_first(self, name, tmp_path):
        before = begun(name, tmp_path)
        extended(tmp_path, name, targets("0.5M", "0.4M"), lambda raw: raw.update(replicates=2))
        first = extended(tmp_path, name, targets("0.5M", "0.4M"), lambda raw: raw.update(replicates=2))
        second = extended(tmp_path, name, targets("0.5M", "0.4M"), lambda raw: raw.update(replicates=2), replicate=1)
        assert_reused(before, first)
        assert len(second) == pytest.approx(len(first), abs=2), "as many jobs, but for equal finalists"
        assert not second.keys() & first.keys()

    def test_a_new_name_budget_resources_and_exports_ask_for_nothing_else(self, name, tmp_path):
        before = begun(name, tmp_path)
        free = {
            "name": "other",
            "budget": {"prune": "1 s"},
            "resources": {"max_attempts": 1},
            "export": {"latency": True},
        }
        after = extended(tmp_path, name, lambda raw: raw.update(free))
        assert_reused(before, after)
        assert not [job for job in after.keys() - before.keys() if "-export-" not in job]


@pytest.mark.parametrize("name", ["prune", "scratch", "search_then_prune", "analysis", "supernet"])
@pytest.mark.parametrize("added", ["uniform_lamp", "global_magnitude+iterative", "channels_magnitude"])
def test_an_added_criterion_wherever_it_is_named(name, added, tmp_path):
    before = begun(name, tmp_path)
    after = extended(tmp_path, name, criteria(added, "uniform_magnitude", "global_magnitude"))
    assert_reused(before, after)
    new = {job.name for job in after.values() if job.name not in before}
    assert any(added in job for job in new)
    assert not [job for job in new if "pretrain" in job or "candidate" in job or "scratch" in job]


@pytest.mark.parametrize(
    ("name", "added", "section"),
    [
        ("prune", "search", SEARCH),
        ("prune", "scratch", {"random_masks": True}),
        ("prune", "analysis", {}),
        ("prune", "supernet", ROUTES["supernet"]["supernet"]),
        ("prune", "subnet_search", ROUTES["subnet_search"]["subnet_search"]),
        ("search_random", "prune", CONFIG["routes"]["prune"]),
        ("search_random", "scratch", {"pruned_structure": False}),
        ("search_then_prune", "scratch", {"equal_epochs": True}),
    ],
)
def test_an_added_route(name, added, section, tmp_path):
    before = begun(name, tmp_path)
    after = extended(tmp_path, name, route(added, section))
    assert_reused(before, after)
    new = [job for job in after.values() if job.name not in before]
    assert {job.route for job in new} == {added}


def test_a_search_added_after_a_target_searches_for_all_of_them(tmp_path):
    begun("prune", tmp_path)
    after = extended(tmp_path, "prune", targets("0.5M", "0.4M"), route("search", SEARCH))
    candidates = [job for job in after.values() if job.phase == Phase.SEARCH]
    assert len(candidates) == 7
    assert {job.target for job in candidates} == {None}


def test_more_controls_and_every_method_delivered(tmp_path):
    before = begun("scratch", tmp_path)
    more = {"train": {"epochs": 4}, "equal_epochs": True, "random_masks": True}
    each = {**CONFIG["routes"]["prune"], "deliver": "each"}
    after = extended(tmp_path, "scratch", route("scratch", more), route("prune", each))
    assert_reused(before, after)
    new = {job.work.label for name, job in after.items() if isinstance(job.work, Deliver) and name not in before}
    assert {"prune:global_magnitude", "prune:uniform_magnitude", "scratch_random_masks"} <= new
