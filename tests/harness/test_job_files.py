"""A job's file that is missing, damaged or another network's is noticed, and the job that made it is run again."""

import shutil
from dataclasses import asdict, replace

import pytest
import torch
from test_execute import SPEC, ended, place, prune  # noqa: F401
from test_execute import pretrain as pretrain_job

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import LedgerWriter, read_ledger
from harness.config.routes import BudgetConfig, with_keys
from harness.jobs.files import Given, file_facts, files_problem
from harness.jobs.job import Done, Job, Outcome, Wait
from harness.jobs.start import WeightsOf
from harness.models.build import load_tensors, save_tensors
from harness.scheduling.scheduler import open_scheduler
from harness.work.attempt import execute

P, Q, F = "prune-r0-p", "prune-r0-q", "prune-r0-f"


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x10
    path.write_bytes(content)


def _not_finite(path):
    tensors = load_tensors(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    save_tensors({**tensors, name: torch.full_like(tensors[name], float("nan"))}, path)


def _folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "a bit flipped": _flip,
    "not finite": _not_finite,
    "garbage": lambda path: path.write_bytes(b"\x80\x04garbage" * 50),
    "another network's": lambda path: shutil.copy(path.parents[1] / "prune-r0-other" / "weights.safetensors", path),
    "a folder": _folder,
}


@pytest.fixture
def made(place):  # noqa: F811
    """A pretrained network, a pruned one and another one, and the facts recorded about their files."""
    outcomes = {P: execute(pretrain_job(), place)}
    outcomes[Q] = execute(prune(120_000), place)
    outcomes["prune-r0-other"] = execute(pretrain_job(step="other", seed=99), place)
    return place, {name: file_facts(outcome.metrics) for name, outcome in outcomes.items()}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_end_the_attempt_with_a_reason_that_names_the_job(made, damage):
    place, facts = made  # noqa: F811
    DAMAGE[damage](place.paths.weights(P))
    outcome = execute(prune(100_000), replace(place, given=Given({P: facts[P]})))
    assert (outcome.ok, outcome.final, outcome.damaged) == (False, False, P)
    assert f"job {P}: it is run again" in ended(place)[-1]["reason"]


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name not in ("a bit flipped", "another network's")])
def test_old_outcomes_without_checksums_are_checked_as_far_as_can_be(made, damage):
    place, _ = made  # noqa: F811
    DAMAGE[damage](place.paths.weights(P))
    assert execute(prune(100_000), replace(place, given=Given({P: {"masked": False}}))).damaged == P


def test_old_weights_of_another_network_do_not_fit(made):
    place, _ = made  # noqa: F811
    save_tensors({"some.weight": torch.ones(3, 3)}, place.paths.weights(P))
    outcome = execute(prune(100_000), replace(place, given=Given({P: {"masked": False}})))
    assert outcome.damaged == P
    assert "of another network" in outcome.reason


@pytest.mark.parametrize("damage", ["deleted", "cut", "a bit flipped", "empty"])
def test_masks_are_verified_too(made, damage):
    place, facts = made  # noqa: F811
    DAMAGE[damage](place.paths.masks(Q))
    assert "masks" in files_problem(Q, facts[Q], place.paths)


def test_masks_that_the_job_did_not_write_are_noticed(made):
    place, facts = made  # noqa: F811
    shutil.copy(place.paths.masks(Q), place.paths.masks(P))
    assert "masks" in files_problem(P, facts[P], place.paths)


def test_of_an_old_pruned_network_deleted_masks_are_noticed(made):
    place, _ = made  # noqa: F811
    place.paths.masks(Q).unlink()
    assert files_problem(Q, file_facts({"macs": 100, "dense_macs": 200}), place.paths) == "deleted masks"


def test_what_verifies_is_used(made):
    place, facts = made  # noqa: F811
    assert files_problem(Q, facts[Q], place.paths) is None
    assert execute(prune(100_000), replace(place, given=Given({P: facts[P]}))).ok
    assert execute(prune(100_000), replace(place, given=Given({P: {"masked": False}}))).ok


class Chain:
    """A route each of whose jobs starts from the one before."""

    name, replicate = "prune", 0

    def __init__(self):
        self.jobs = [
            pretrain_job(),
            prune(120_000),
            pretrain_job(step="f", phase=Phase.FINETUNE, start=WeightsOf(Q), counted_macs=120_000),
        ]
        self.told = []

    def ask(self):
        if len(self.told) == len(self.jobs):
            return Done()
        return self.jobs[len(self.told)]

    def tell(self, job, outcome):
        self.told.append((job.name, outcome))


def work(paths, place, session, *, before=lambda job: None):  # noqa: F811
    """Run the chain job by job in one session; returns the names of the jobs that ran, and the route."""
    with LedgerWriter(paths.ledger, session, "driver") as ledger:
        ledger.append(
            Kind.SESSION_OPENED, session=session, study="x", environment={},
            capacity=[{"device": "n/cpu", "device_kind": "cpu_core", "amount": 1.0, "name": "c", "node": "n"}],
        )  # fmt: skip
        route = Chain()
        scheduler = open_scheduler([route], with_keys(BudgetConfig)(), paths, ledger, session)
        ran = []
        while not isinstance(job := scheduler.next(), Done):
            assert isinstance(job, Job), Wait
            ran.append(job.name)
            before(job)
            held = replace(place.held, allocation=None)
            mine = replace(place, session=session, held=held, given=Given(**asdict(scheduler.given(job))))
            scheduler.tell(job, execute(job, mine))
        ledger.append(Kind.SESSION_CLOSED, session=session, reason="done")
    return ran, route


@pytest.mark.parametrize("damage", ["deleted", "a bit flipped", "cut"])
def test_on_resume_what_a_later_job_needs_is_made_again_and_is_the_same(place, damage):  # noqa: F811
    paths = place.paths
    work(paths, place, "s1")
    before = paths.weights(Q).read_bytes()
    lines = _without_the_end_of(F, paths)
    DAMAGE[damage](paths.weights(Q))
    ran, route = work(paths, place, "s2")
    assert ran == [Q, F], lines
    assert paths.weights(Q).read_bytes() == before
    assert [name for name, _ in route.told] == [P, Q, F]
    assert all(outcome.ok for _, outcome in route.told)
    again = [r for r in read_ledger(paths.ledger).records if r["kind"] == Kind.ATTEMPT_STARTED and "again" in r]
    assert [record["job"] for record in again] == [Q]
    view = derive(read_ledger(paths.ledger).records)
    (repeated,) = [attempt for attempt in view.attempts if "repeated" in attempt.flags]
    assert repeated.lost_s == pytest.approx(repeated.allocated_s)


def _without_the_end_of(job, paths):
    """Cut the ledgers as if the session had been killed before the job's last record."""
    for path in paths.ledger.glob("*.jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        kept = [n for n, line in enumerate(lines) if f'"attempt":"{job}#' in line or "session_closed" in line]
        path.write_text("".join(lines[: kept[0]] if kept else lines))
    return job


def test_a_chain_whose_files_are_all_gone_is_made_again_from_its_beginning(place):  # noqa: F811
    work(place.paths, place, "s1")
    _without_the_end_of(F, place.paths)
    shutil.rmtree(place.paths.root / "checkpoints")
    ran, _ = work(place.paths, place, "s2")
    assert ran == [P, Q, F]


def test_a_finished_study_needs_no_files(place):  # noqa: F811
    work(place.paths, place, "s1")
    shutil.rmtree(place.paths.root / "checkpoints")
    ran, _ = work(place.paths, place, "s2")
    assert ran == []


def test_files_that_are_lost_in_the_middle_of_a_run_are_made_again(place):  # noqa: F811
    lost = []

    def lose(job):
        if job.name == F and not lost:
            lost.append(job.name)
            place.paths.weights(Q).unlink()

    ran, route = work(place.paths, place, "s1", before=lose)
    assert ran == [P, Q, F, Q, F]
    assert all(outcome.ok for _, outcome in route.told)
    found = audit(read_ledger(place.paths.ledger).records, read_ledger(place.paths.ledger).findings)
    assert found.ok, found.findings


def test_files_that_are_lost_again_and_again_end_the_job_and_not_the_scheduler(place):  # noqa: F811
    def lose(job):
        if job.name == F:
            place.paths.weights(Q).unlink()

    ran, route = work(place.paths, place, "s1", before=lose)
    assert ran == [P, Q, F, Q, F, Q, F]
    outcome = dict(route.told)[F]
    assert (outcome.ok, outcome.final) == (False, False)


def test_outcomes_of_old_versions_can_be_read():
    assert Outcome(**{"ok": True, "metrics": {}, "reason": None, "final": True}).damaged is None
    assert SPEC["builder"]
