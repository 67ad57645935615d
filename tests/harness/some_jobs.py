"""Jobs for tests, with plain values wherever the test gives none."""

from accounting.ledger.records import Phase
from harness.config.recipe import Recipe
from harness.jobs.identity import JobId
from harness.jobs.job import Job
from harness.jobs.work import Deliver, Train


def job(step, route="prune", phase=Phase.RETRAIN, target=None, replicate=0, **fields):
    """A job of a route; by default, it trains with the default recipe."""
    plain = {"seed": 0, "network": {}, "work": Train(Recipe()), "counted_macs": 1000}
    given = plain | fields
    return Job(JobId(route, replicate, target, step), phase, **{"computed_macs": given["counted_macs"], **given})


def evaluation(route, target, step="x-evaluate", **fields):
    """The job that delivers a route's own network for a target."""
    return job(step, route, Phase.EVALUATE, target, work=Deliver(route, ""), **fields)
