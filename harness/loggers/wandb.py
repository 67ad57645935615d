"""Weights & Biases: one run per study, for all its sessions; ``WANDB_PROJECT`` and its other variables are respected.

Without a key, the run is written offline to the logger's folder, from which ``wandb sync`` uploads it.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from harness.loggers.base import News, Run

NEEDS = "wandb"


class Logger:
    """Logs numbers together with ``step`` and ``t``, and sentences as ``event``."""

    NEEDS = NEEDS
    BEGINS_ANEW = False

    def __init__(self, run: Run) -> None:
        import wandb

        run.folder.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "prune-or-search"),
            name=run.study,
            id=run.run_id,
            resume="allow",
            dir=str(run.folder),
            config=dict(run.config),
            mode=mode,
        )

    def log(self, news: Sequence[News]) -> None:
        """See :class:`harness.loggers.base.Logger`."""
        for one in news:
            for scalar in one.scalars:
                self._run.log({scalar.tag: scalar.value, "step": scalar.step, "t": one.t})
            if one.text is not None:
                self._run.log({"event": one.text, "t": one.t})

    def close(self) -> None:
        """See :class:`harness.loggers.base.Logger`."""
        self._run.finish()


def _has_key() -> bool:
    """Whether a key is stored (as by ``wandb login``) or set; nothing is asked, since a study may run unattended."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return host is not None and netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
