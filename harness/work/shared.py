"""Work that several workers can share: each of them calls this, on its share of the data."""

from __future__ import annotations

from accounting.ledger.outcomes import JobOutcome
from harness.jobs.work import Score, SharedWork, Train, TrainSupernet
from harness.work.bench import Bench
from harness.work.supernet import score
from harness.work.train import train_network, train_supernet


def shared_work(work: SharedWork, bench: Bench) -> JobOutcome:
    """Do the work, and return the outcome's metrics; raises what its function raises."""
    match work:
        case Train():
            return train_network(work, bench)
        case TrainSupernet():
            return train_supernet(work, bench)
        case Score():
            return score(work, bench)
