"""Every route's jobs depend on the outcomes it is told, not on their order; names are unique; each route ends."""

import copy
import random
from dataclasses import replace

import pytest

from accounting.ledger.records import Phase
from harness.config.study import ExportConfig, parse_config
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.spec import to_json
from harness.jobs.start import StructureOf
from harness.jobs.work import Deliver, Train
from harness.validation import check_study, make_routes

CONFIG = {
    "name": "contract",
    "dataset": {"name": "fashion_mnist_mini"},
    "parent": {"family": "fbnetv3_mini", "variant": "l", "pretrain": {"epochs": 5}},
    "targets": ["0.6M", "0.4M"],
    "recipe": {"lr": 0.3},
    "routes": {
        "search": {
            "strategy": {"name": "random", "num_trials": 7}, "candidate": {"epochs": 1}, "retrain": {"epochs": 2},
            "num_predicted": 1, "num_seen": 2,
        },
        "prune": {"criterion": ["global_magnitude", "uniform_magnitude"], "finetune": {"epochs": 3}},
        "scratch": {"train": {"epochs": 4}},
    },
}  # fmt: skip
SEEDS = range(6)


def view_of(strategy="random", **changes):
    config = copy.deepcopy(CONFIG) | changes
    if config["routes"].get("search"):
        config["routes"]["search"]["strategy"]["name"] = strategy
    return check_study(parse_config(config, "contract"), need_data=False)


@pytest.fixture(scope="module", params=["random", "predictor_evolution", "regularized_evolution"])
def view(request):
    from nas_baseline.strategies import list_strategies

    if request.param not in list_strategies():
        pytest.skip("no such strategy")
    return view_of(request.param)


def outcome_of(job, fails=0.0):
    """The outcome of a job depends only on its name, not on when it is told."""
    rng = random.Random(job.name)
    if rng.random() < fails:
        return Outcome(ok=False, reason="it fell over")
    return Outcome(ok=True, metrics={"val_top1": rng.random(), "macs": job.target or job.counted_macs})


def play(view, order, fails=0.0, replicate=0, slots=3):
    """All jobs, up to ``slots`` of them at a time; ``order`` seeds the random order of outcomes."""
    routes = make_routes(view, replicate)
    rng = random.Random(order)
    jobs, out = {}, []
    for _ in range(10_000):
        answers = []
        for route in rng.sample(routes, len(routes)):
            if len(out) >= slots:
                break
            answer = route.ask()
            answers.append(answer)
            if isinstance(answer, Job):
                assert answer.name not in jobs, f"{answer.name} is proposed twice"
                assert answer.route == route.name
                jobs[answer.name] = answer
                out.append(answer)
        if out and (len(out) >= slots or not any(isinstance(a, Job) for a in answers)):
            job = out.pop(rng.randrange(len(out)))
            for route in routes:
                route.tell(job, outcome_of(job, fails))
        elif not out and all(isinstance(route.ask(), Done) for route in routes):
            return jobs
        elif not out:
            assert any(isinstance(a, Job) for a in answers), "nothing is out, and some route waits for ever"
    raise AssertionError("the routes do not end")


@pytest.fixture(scope="module")
def jobs(view):
    return play(view, order=3)


@pytest.mark.parametrize("fails", [0.0, 0.3])
def test_the_order_of_outcomes_does_not_matter(view, fails):
    first = play(view, order=0, fails=fails, slots=1)
    orders = [1, 4] if view.config.routes.search.strategy.name == "predictor_evolution" else SEEDS
    for order in orders:
        again = play(view, order=order, fails=fails, slots=1 + order % 5)
        assert sorted(again) == sorted(first)
        assert {name: to_json(job) for name, job in again.items()} == {n: to_json(j) for n, j in first.items()}


@pytest.mark.parametrize("fails", [0.0, 0.3])
@pytest.mark.parametrize("strategy", ["random", "predictor_evolution", "regularized_evolution"])
def test_with_halving_the_order_of_outcomes_does_not_matter_either(strategy, fails):
    routes = {"search": copy.deepcopy(CONFIG["routes"]["search"]) | {"candidate": {"epochs": 4}, "halving": {"eta": 2}}}
    view = view_of(strategy, routes=routes)
    first = {name: to_json(job) for name, job in play(view, order=0, fails=fails, slots=1).items()}
    for order in (1, 4):
        again = play(view, order=order, fails=fails, slots=1 + order % 5)
        assert {name: to_json(job) for name, job in again.items()} == first
    rungs = [
        sum(spec["phase"] == "search" and spec["stop_epoch"] == end for spec in first.values()) for end in (1, 2, None)
    ]
    assert rungs[0] == 7
    assert rungs[0] > rungs[1] > rungs[2] >= 1
    for name, spec in first.items():
        if "-rung-" in name:
            before = first[spec["init_from"]]
            assert (before["seed"], before["stop_epoch"]) == (spec["seed"], spec["epochs_before"]), "one training"
            assert before["leaves_state"]


def test_ends_even_if_everything_fails(view):
    jobs = play(view, order=1, fails=1.1)
    assert not [job for job in jobs.values() if job.phase in (Phase.EVALUATE, Phase.PRUNE, Phase.FINETUNE)]
    assert not [job for job in jobs.values() if isinstance(job.start, StructureOf)]


@pytest.mark.parametrize("seed", SEEDS)
def test_ends_whatever_fails(seed, monkeypatch):
    view = view_of()
    monkeypatch.setattr(
        "test_routes_contract.outcome_of",
        lambda job, fails: Outcome(ok=False) if random.Random(f"{job.name}{seed}").random() < 0.5
        else Outcome(ok=True, metrics={"val_top1": 0.5, "macs": job.counted_macs}),
    )  # fmt: skip
    jobs = play(view, order=seed)
    trained = {name for name in jobs if outcome_of(jobs[name], 0).ok}
    for job in jobs.values():
        assert job.source is None or job.source in trained, "nothing starts from what failed"


def test_evaluates_once_for_each_target_and_kind_of_network(view, jobs):
    evaluated = sorted((job.target, job.work.label) for job in jobs.values() if job.phase == Phase.EVALUATE)
    labels = ["prune", "scratch_family", "scratch_pruned_structure", "search"]
    assert evaluated == sorted((target, label) for target in view.config.targets for label in labels)


def test_delivers_the_best_on_validation(view, jobs):
    for job in jobs.values():
        if job.phase == Phase.EVALUATE and job.route in ("search", "prune"):
            phase = jobs[job.source].phase
            rivals = [j for j in jobs.values() if (j.route, j.phase, j.target) == (job.route, phase, job.target)]
            assert len(rivals) >= 2
            best = max(rivals, key=lambda rival: outcome_of(rival).metrics["val_top1"])
            assert job.source == best.name


def test_nothing_trained_for_a_target_is_above_it(view, jobs):
    for job in jobs.values():
        if job.target is not None:
            assert job.counted_macs <= job.target
        elif job.phase == Phase.SEARCH:
            assert job.counted_macs <= max(view.config.targets)


def test_the_parent_is_trained_once_and_shared_by_the_targets(view, jobs):
    pretrains = [job for job in jobs.values() if job.phase == Phase.PRETRAIN]
    assert len(pretrains) == 1
    assert pretrains[0].target is None
    pruned = [job for job in jobs.values() if job.phase == Phase.PRUNE]
    assert {job.source for job in pruned} == {pretrains[0].name}
    assert len(pruned) == 4, "two targets, two criteria"


def test_one_search_serves_all_targets(jobs):
    candidates = [job for job in jobs.values() if job.phase == Phase.SEARCH]
    assert len(candidates) == 7
    assert {job.target for job in candidates} == {None}


def test_the_control_has_the_budget_of_pretraining_and_fine_tuning(jobs):
    controls = [job for job in jobs.values() if isinstance(job.start, StructureOf)]
    assert len(controls) == 2
    assert {job.work.recipe.epochs for job in controls} == {5 + 3}


def test_recipes_are_merged_from_the_study_down_to_the_phase(jobs):
    for job in jobs.values():
        if isinstance(job.work, Train):
            expected = {Phase.PRETRAIN: 5, Phase.FINETUNE: 3, Phase.SEARCH: 1}.get(job.phase)
            assert expected is None or job.work.recipe.epochs == expected
            assert job.route == "search" or job.work.recipe.lr == 0.3, "a searched network brings its own"


def test_replicates_have_other_names_and_other_seeds(view, jobs):
    first, second = jobs, play(view, order=10, replicate=1)
    assert not set(first) & set(second)
    seeds = [job.seed for jobs in (first, second) for job in jobs.values()]
    assert len(seeds) == len(set(seeds))
    assert {job.replicate for job in second.values()} == {1}


def test_the_seed_of_the_study_changes_seeds_and_not_names_of_pruning():
    one, two = play(view_of(), 0), play(view_of(seed=1), 0)
    pruning = [name for name in one if name.startswith("prune")]
    assert all(name in two for name in pruning)
    assert all(one[name].seed != two[name].seed for name in pruning)


def test_seeds_are_what_torch_and_numpy_take(jobs):
    assert all(0 <= job.seed < 2**31 for job in jobs.values())


def test_waits_are_not_ends(view):
    (prune, *_) = make_routes(view, 0)
    pretrain = prune.ask()
    assert isinstance(prune.ask(), Wait)
    prune.tell(pretrain, Outcome(ok=True, metrics={"val_top1": 0.5, "macs": 1}))
    assert isinstance(prune.ask(), Job)


def test_an_outcome_told_twice_changes_nothing(view):
    (prune, *_) = make_routes(view, 0)
    pretrain = prune.ask()
    for _ in range(2):
        prune.tell(pretrain, Outcome(ok=True, metrics={"val_top1": 0.5, "macs": 1}))
    names = []
    while isinstance(job := prune.ask(), Job):
        names.append(job.name)
    assert len(names) == len(set(names)) == 4


@pytest.mark.parametrize("route", ["search", "prune", "scratch"])
def test_a_route_alone_ends_with_networks(route):
    routes = {route: copy.deepcopy(CONFIG["routes"][route])}
    if route == "scratch":
        routes["scratch"]["pruned_structure"] = False
    jobs = play(view_of(routes=routes), order=0)
    assert {job.route for job in jobs.values()} == {route}
    assert sum(job.phase == Phase.EVALUATE for job in jobs.values()) == 2


def told(view, values):
    """All jobs by name. Each is told the val_top1 in ``values`` (0.5 if not given); None is a chance failure."""
    routes, jobs = make_routes(view, 0), {}
    while any(isinstance(job := route.ask(), Job) for route in routes):
        jobs[job.name] = job
        value = next((v for part, v in values.items() if part in job.name), 0.5)
        metrics = {"val_top1": value, "macs": job.target or job.counted_macs}
        for route in routes:
            route.tell(job, Outcome(ok=value is not None, metrics=metrics if value is not None else {}))
    return jobs


def delivers(jobs, label):
    return {name: job.source for name, job in jobs.items() if isinstance(job.work, Deliver) and job.work.label == label}


def test_a_better_network_after_a_resume_is_a_delivery_of_its_own():
    failed = told(view_of(), {"uniform_magnitude-finetune": None})
    both = told(view_of(), {"uniform_magnitude-finetune": 0.9})
    assert len(delivers(failed, "prune")) == len(delivers(both, "prune")) == 2
    assert not set(delivers(failed, "prune")) & set(delivers(both, "prune")), (
        "another network under a known name is not run"
    )
    assert set(delivers(failed, "search")) == set(delivers(both, "search"))


def test_what_is_pruned_after_a_search_is_named_after_its_winner():
    routes = {**copy.deepcopy(CONFIG["routes"]), "search_then_prune": {"larger": 1.2}}
    del routes["scratch"]
    one = told(view_of(routes=routes), {"search_then_prune-r0-t400000-retrain-0": 0.9})
    other = told(view_of(routes=routes), {"search_then_prune-r0-t400000-retrain-1": 0.9})
    pruned = [
        {j for j in jobs if j.startswith("search_then_prune-r0-t400000") and "magnitude" in j} for jobs in (one, other)
    ]
    assert pruned[0]
    assert pruned[1]
    assert not pruned[0] & pruned[1]


def test_exports_follow_deliveries_and_change_no_other_job(view, jobs):
    config = view.config.model_copy(update={"export": ExportConfig(onnx=True, int8=True)})
    exporting = play(replace(view, config=config), order=3)
    added = {name: job for name, job in exporting.items() if name not in jobs}
    assert {name: to_json(job) for name, job in exporting.items() if name in jobs} == {
        n: to_json(j) for n, j in jobs.items()
    }
    deliveries = [job for job in jobs.values() if job.phase == Phase.EVALUATE]
    assert sorted(added) == sorted(f"{job.name}-export-{kind}" for job in deliveries for kind in ("onnx", "int8"))
    assert {job.phase for job in added.values()} == {Phase.EXPORT}
    seeds = [job.seed for job in exporting.values()]
    assert len(seeds) == len(set(seeds))
