"""TensorBoard: event files in the study's folder, for ``tensorboard --logdir runs/<name>/loggers/tensorboard``.

tensorboardX, which comes with Ray Tune, writes them; viewing them requires the extra ``tensorboard``.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.loggers.base import News, Run

NEEDS = "tensorboardX"


class Logger:
    """Writes one file per session: numbers as scalars by step and time, sentences as text."""

    NEEDS = NEEDS
    BEGINS_ANEW = True

    def __init__(self, run: Run) -> None:
        from tensorboardX import SummaryWriter

        run.folder.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(run.folder))
        self._num_texts = 0

    def log(self, news: Sequence[News]) -> None:
        """See :class:`harness.loggers.base.Logger`."""
        for one in news:
            for scalar in one.scalars:
                self._writer.add_scalar(scalar.tag, scalar.value, scalar.step, walltime=one.t)
            if one.text is not None:
                self._num_texts += 1
                self._writer.add_text("events", one.text, self._num_texts, walltime=one.t)
        self._writer.flush()

    def close(self) -> None:
        """See :class:`harness.loggers.base.Logger`."""
        self._writer.close()
