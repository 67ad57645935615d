"""trackio: one run per study, in the project with its name, in trackio's own storage; ``trackio show`` shows it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from harness.loggers.base import News, Run

NEEDS = "trackio"
log = logging.getLogger(__name__)


def _log(*said: object, **_: object) -> None:
    log.info("%s", " ".join(map(str, said)))


class Logger:
    """Logs numbers together with ``step_of_series`` and ``t``, and sentences as ``event``."""

    NEEDS = NEEDS
    BEGINS_ANEW = False

    def __init__(self, run: Run) -> None:
        import trackio

        for name, module in [*sys.modules.items()]:
            if name.partition(".")[0] == "trackio":
                module.__dict__["print"] = _log  # trackio prints, but standard output is the study's own
        self._trackio = trackio
        trackio.init(project=run.study, name=run.run_id, resume="allow", config=dict(run.config))

    def log(self, news: Sequence[News]) -> None:
        """See :class:`harness.loggers.base.Logger`."""
        for one in news:
            for scalar in one.scalars:
                self._trackio.log({scalar.tag: scalar.value, "step_of_series": scalar.step, "t": one.t})
            if one.text is not None:
                self._trackio.log({"event": one.text, "t": one.t})

    def close(self) -> None:
        """See :class:`harness.loggers.base.Logger`."""
        self._trackio.finish()
