"""How a study in this process ends when a budget is spent or something fails, and what had been planned."""

import re
from collections import Counter

import pytest
from inline_runs import SMALL, models, records, run

from accounting.audit.audit import audit
from accounting.cost.attempts import derive
from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import read_ledger
from harness.config.study import parse_config
from harness.errors import StudyFailed
from harness.planning.speeds import Speeds
from harness.training.updates import Diverged


class TestBudget:
    def test_a_spent_route_stops_and_says_so(self, tiny, tmp_path):
        tiny["routes"]["search"]["strategy"] = {"name": "random", "num_trials": 100}
        tiny["routes"]["scratch"] = None
        tiny["budget"] = {"search": "1 s"}
        with pytest.raises(
            StudyFailed, match=r"search at 0\.6M MACs, replicate 0, was not delivered: the budget of search"
        ):
            run(tiny, tmp_path / "study")
        view = derive(read_ledger(tmp_path / "study" / "ledger").records)
        routes = Counter(job.route for job in view.jobs)
        assert 1 <= routes["search"] < 80
        assert routes["prune"] == 7, "the other route is not touched"
        last_begin = max(a.begin_t for a in view.attempts if a.route == "search" and a.phase != Phase.EVALUATE)
        before = sum(a.allocated_s for a in view.attempts if a.route == "search" and a.end_t <= last_begin)
        assert before < 1 + 1.5, "what is asked for after the budget is spent is at most what a second more allows"
        assert (tmp_path / "study" / "report" / "index.html").exists(), "what there is, is reported"
        assert audit(read_ledger(tmp_path / "study" / "ledger").records).ok

    def test_more_budget_goes_on(self, tiny, tmp_path):
        tiny |= SMALL | {"budget": {"prune": "0.001 s"}}
        with pytest.raises(StudyFailed, match=r"more, by the study's plan: set budget\.prune to [\d.]+ h and run"):
            run(tiny, tmp_path / "study")
        assert (
            "prune at 0.6M MACs, replicate 0, was not delivered"
            in (tmp_path / "study" / "report" / "index.html").read_text()
        )
        assert not models(tmp_path / "study")
        first = len(records(tmp_path / "study", Kind.ATTEMPT_STARTED))
        run(tiny | {"budget": {"prune": "1 h"}}, tmp_path / "study")
        begun = [record["job"] for record in records(tmp_path / "study", Kind.ATTEMPT_STARTED)]
        assert first == 1 and begun[:2] == ["prune-r0-pretrain"] * 2, "stopped at a checkpoint, and continued from it"
        assert len(begun) == len(set(begun)) + 1 == 5
        assert len(models(tmp_path / "study")) == 1
        assert "was not delivered" not in (tmp_path / "study" / "report" / "index.html").read_text()

    def test_a_control_that_waits_for_what_a_budget_stopped_is_named_too(self, tiny, tmp_path):
        tiny |= SMALL | {"budget": {"prune": "0.001 s"}}
        tiny["routes"] = {**SMALL["routes"], "scratch": {"family": False, "pruned_structure": True}}
        with pytest.raises(StudyFailed, match="Nor were 1 more"):
            run(tiny, tmp_path / "study")
        (closed,) = records(tmp_path / "study", Kind.SESSION_CLOSED)
        assert [(each["label"], each["waits_for"]) for each in closed["undelivered"]] == [
            ("prune", None), ("scratch_pruned_structure", "prune"),
        ]  # fmt: skip
        page = (tmp_path / "study" / "report" / "index.html").read_text()
        assert "it waits for a network of prune, and the budget of prune" in page

    def test_a_budget_that_only_ended_a_search_early_is_an_end_as_planned(self, tiny, tmp_path, monkeypatch):
        from harness.scheduling.scheduler import Scheduler

        tiny["routes"], tiny["targets"] = {"search": tiny["routes"]["search"]}, ["0.6M"]
        tiny["budget"] = {"search": "1 h"}
        plain = Scheduler._not_paid_for
        monkeypatch.setattr(
            Scheduler,
            "_not_paid_for",
            lambda self, job: "spent" if job.name.endswith("retrain-1") else plain(self, job),
        )
        run(tiny, tmp_path / "study")
        assert len(models(tmp_path / "study")) == 1


class TestFailure:
    def test_a_diverging_recipe_is_a_failed_job_that_costs(self, tiny, tmp_path):
        tiny |= SMALL
        tiny["parent"]["pretrain"]["lr"] = 1000.0
        with pytest.raises(StudyFailed, match=r"prune-r0-pretrain: the training loss became"):
            run(tiny, tmp_path / "study")
        view = derive(read_ledger(tmp_path / "study" / "ledger").records)
        (attempt,) = view.attempts
        assert attempt.status == "failed"
        assert attempt.allocated_s > 0
        assert attempt.lost_s + attempt.overhead_s == pytest.approx(attempt.allocated_s)
        assert records(tmp_path / "study", Kind.JOB_ABANDONED)[0]["reason"].startswith("the training loss")
        assert (tmp_path / "study" / "report" / "index.html").exists()

    def test_a_search_without_one_trained_candidate_is_no_finished_study(self, tiny, tmp_path, monkeypatch):
        from harness.work import train as execute

        def diverge(*_, **__):
            raise Diverged("the training loss became nan")

        monkeypatch.setattr(execute, "train", diverge)
        tiny["replicates"], tiny["routes"] = 1, {"search": tiny["routes"]["search"]}
        with pytest.raises(StudyFailed, match=r"search of replicate 0 at 0.6M MACs.*no candidate within it"):
            run(tiny, tmp_path / "study")
        assert not models(tmp_path / "study")
        assert (tmp_path / "study" / "report" / "index.html").exists()

    def test_an_attempt_that_crashes_is_tried_again(self, tiny, tmp_path, monkeypatch):
        from harness.work import train as execute

        tries = []
        plain = execute.train

        def crash_once(*args, **kwargs):
            tries.append(1)
            if len(tries) == 1:
                raise OSError("the disk is full")
            return plain(*args, **kwargs)

        monkeypatch.setattr(execute, "train", crash_once)
        run(tiny | SMALL, tmp_path / "study")
        ended = records(tmp_path / "study", Kind.ATTEMPT_ENDED)
        assert [(e["status"], e["reason"]) for e in ended[:2]] == [
            ("failed", "OSError: the disk is full"),
            ("ok", None),
        ]
        assert len(derive(read_ledger(tmp_path / "study" / "ledger").records).jobs) == 4

    def test_a_job_that_always_crashes_ends_the_study_as_unfinished(self, tiny, tmp_path, monkeypatch):
        from harness.work import train as execute

        def crash(*args, **kwargs):
            raise OSError("the disk is full")

        monkeypatch.setattr(execute, "train", crash)
        with pytest.raises(StudyFailed, match="the disk is full"):
            run(tiny | SMALL | {"resources": {"max_attempts": 2}}, tmp_path / "study")
        assert len(records(tmp_path / "study", Kind.ATTEMPT_STARTED)) == 2

    def test_an_interrupt_leaves_a_closed_session_and_resumes(self, tiny, tmp_path, monkeypatch):
        from harness.work import prune as pruned

        plain = pruned.prune_to_macs

        def interrupt(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(pruned, "prune_to_macs", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(tiny | SMALL, tmp_path / "study")
        assert [r["reason"] for r in records(tmp_path / "study", Kind.SESSION_CLOSED)] == ["interrupted"]
        monkeypatch.setattr(pruned, "prune_to_macs", plain)
        run(tiny | SMALL, tmp_path / "study")
        jobs = Counter(record["job"] for record in records(tmp_path / "study", Kind.ATTEMPT_STARTED))
        assert jobs["prune-r0-pretrain"] == 1, "what was done is not done again"
        assert jobs["prune-r0-t600000-global_magnitude-prune"] == 2


class TestPlan:
    def test_plans_the_jobs_that_are_run(self, tiny, tiny_study, monkeypatch):
        from harness import plan
        from harness.validation import check_study

        monkeypatch.setattr(plan, "measure_speeds", lambda *_: Speeds(1e9))
        planned = plan.plan_study(check_study(parse_config(tiny, "test"), need_data=False), "cpu", {"": 1.0})
        names = [_whoever_wins(entry.job.name) for entry in planned.jobs]
        ran = {_whoever_wins(record["job"]) for record in records(tiny_study, Kind.ATTEMPT_STARTED)}
        # Which family network or finalist is delivered may differ; which jobs are done, how often and for whom may not.
        assert set(names) == ran
        assert len(names) == len(set(names))
        assert not planned.capped


def _whoever_wins(job):
    """The name of a job without the number of the finalist that is delivered."""
    return re.sub(r"-retrain-\d+-evaluate", "-retrain-evaluate", job)
