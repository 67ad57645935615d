"""The first candidates of a search: held back until all have ended, they determine the epoch at which later ones stop."""

from __future__ import annotations

from harness.jobs.job import Outcome
from nas_baseline.proposing.early_stop import choose_early_stop

LEAST_CANDIDATES = 4
"""With fewer, a perfect rank correlation says little."""


class FirstBatch:
    """FBNetV3's early stopping (arXiv 2006.02049, section 3.2), for candidates of ``num_epochs`` each.

    Its decisions depend on the set of outcomes, never on their order.
    """

    def __init__(self, num_epochs: int, min_tau: float) -> None:
        self.is_open = True
        self.stop_epoch: int | None = None
        """The epoch after which later candidates stop; None if they are trained to the end."""
        self._num_epochs, self._min_tau = num_epochs, min_tau
        self._outcomes: dict[int, Outcome] = {}

    def skip(self) -> None:
        """Switch early stopping off: every candidate is trained to the end, and its value is told at once."""
        self.is_open = False

    def record(self, trial: int, outcome: Outcome) -> None:
        """Hold an outcome back."""
        self._outcomes[trial] = outcome

    def close(self, num_trials: int) -> dict[int, float | None]:
        """Choose the epoch, and return each trial's value at that epoch; None for a trial that failed."""
        self.is_open = False
        ok = {trial: o.metrics for trial, o in sorted(self._outcomes.items()) if o.ok}
        curves = {trial: metrics.get("val_curve") or [] for trial, metrics in ok.items()}
        is_whole = all(len(curve) == self._num_epochs for curve in curves.values())
        if len(self._outcomes) < num_trials and len(ok) >= LEAST_CANDIDATES and is_whole and self._num_epochs > 1:
            final = [metrics["val_top1"] for metrics in ok.values()]
            epoch = choose_early_stop(list(curves.values()), final, self._min_tau)
            self.stop_epoch = epoch if epoch < self._num_epochs else None
        values = {
            t: m["val_top1"] if self.stop_epoch is None else curves[t][self.stop_epoch - 1] for t, m in ok.items()
        }
        return {trial: values.get(trial) for trial in sorted(self._outcomes)}
