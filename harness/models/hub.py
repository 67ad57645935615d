"""Published weights if the Hugging Face Hub cannot be reached: one try, then only the cache.

The Hub's own client tries six times if the host does not answer, with pauses that add up to most of a minute.
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import huggingface_hub

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0


def hub_answers() -> bool:
    """Whether the Hub answers one request, even with an HTTP error."""
    try:
        with urlopen(Request(huggingface_hub.constants.ENDPOINT, method="HEAD"), timeout=TIMEOUT_S):
            return True
    except HTTPError:
        return True
    except (OSError, ValueError, http.client.HTTPException):  # no name, no route, no answer in time; no address at all
        return False


@contextmanager
def hub_in_one_try() -> Iterator[None]:
    """If the Hub does not answer, do not ask it again in the block: weights come from the cache or fail at once."""
    constants = huggingface_hub.constants
    if constants.HF_HUB_OFFLINE or hub_answers():
        yield
        return
    log.info(
        "%s does not answer; only weights in the cache are available (HF_HUB_OFFLINE=1 stops asking)",
        constants.ENDPOINT,
    )
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False
