"""How good a search's predictor was: what it predicted for a candidate, and what was then measured."""

from __future__ import annotations

import pandas as pd

from accounting.ledger.records import Phase
from reports.data.frames import Frames
from reports.statistics import Estimate, mean_interval

COLUMNS = ["route", "replicate", "job", "predicted", "sd", "measured", "is_stopped"]
SDS_OF_95 = 1.96
"""Half-width of the central 95 % of a normal distribution, in standard deviations."""


def predictions(frames: Frames) -> pd.DataFrame:
    """One row per trained search candidate with a prediction; accuracies are fractions of the validation split.

    ``is_stopped``: it was trained only to the epoch at which the search stops later candidates; its prediction is then for
    that epoch, too.
    """
    specs = frames.view.links
    rows: list[list[object]] = []
    for job in frames.view.jobs:
        predicted, outcome = specs.get(job.job, {}).get("predicted"), job.outcome or {}
        if job.phase != Phase.SEARCH or not isinstance(predicted, dict) or outcome.get("val_top1") is None:
            continue
        mean, sd = float(predicted["mean"]), float(predicted.get("sd") or 0.0)
        is_stopped = outcome.get("stopped_epoch") is not None
        rows.append([job.route, job.replicate, job.job, mean, sd, float(outcome["val_top1"]), is_stopped])
    return pd.DataFrame(rows, columns=COLUMNS)


def rank_correlation(table: pd.DataFrame) -> Estimate:
    """Kendall's tau-b of predicted and measured values: mean over replicates with at least two distinct values of each."""
    from scipy import stats  # imported here, as it takes a second and few studies have predictions

    taus = [
        float(stats.kendalltau(group["predicted"], group["measured"]).statistic)
        for _, group in table.groupby(["route", "replicate"])
        if group["predicted"].nunique() > 1 and group["measured"].nunique() > 1
    ]
    return mean_interval(taus, at_least=-1.0, at_most=1.0)


def coverage(table: pd.DataFrame) -> Estimate:
    """Share (0-1) of candidates whose measured value is within the predicted 95 % interval: mean over replicates."""
    with_sd = table[table["sd"] > 0]
    inside = (with_sd["measured"] - with_sd["predicted"]).abs() <= SDS_OF_95 * with_sd["sd"]
    shares = inside.groupby([with_sd["route"], with_sd["replicate"]]).mean()
    return mean_interval([float(share) for share in shares], at_least=0.0, at_most=1.0)
