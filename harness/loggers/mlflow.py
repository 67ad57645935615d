"""MLflow: one run per study, in the experiment with the study's name; ``MLFLOW_TRACKING_URI`` says where."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.loggers.base import News, Run

NEEDS = "mlflow"
TAG = "prune_or_search.run_id"
NOT_A_KEY = re.compile(r"[^A-Za-z0-9_\-. /]")
"""Characters that MLflow does not allow in the name of a metric."""


class Logger:
    """Logs numbers as metrics by step and time, and the last sentence as a tag."""

    NEEDS = NEEDS
    BEGINS_ANEW = False

    def __init__(self, run: Run) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        known = self._client.get_experiment_by_name(run.study)
        experiment = self._client.create_experiment(run.study) if known is None else known.experiment_id
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{run.run_id}'", max_results=1)
        begun = found[0] if found else self._client.create_run(experiment, tags={TAG: run.run_id}, run_name=run.study)
        self._run_id = begun.info.run_id

    def log(self, news: Sequence[News]) -> None:
        """See :class:`harness.loggers.base.Logger`."""
        for one in news:
            for scalar in one.scalars:
                key = NOT_A_KEY.sub("-", scalar.tag)
                self._client.log_metric(self._run_id, key, scalar.value, timestamp=int(1000 * one.t), step=scalar.step)
        texts = [one.text for one in news if one.text is not None]
        if texts:
            self._client.set_tag(self._run_id, "prune_or_search.last_event", texts[-1])

    def close(self) -> None:
        """See :class:`harness.loggers.base.Logger`."""
        self._client.set_terminated(self._run_id)
