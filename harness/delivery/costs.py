"""What the jobs that led to a network have cost so far, for its model card."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from accounting.cost.attempts import derive
from accounting.cost.shares import network_h
from accounting.ledger.store import read_ledger
from accounting.words.names import Unit


class NetworkCost(TypedDict):
    """Device-hours of the jobs that led to a network, and of its parent's pre-training among them."""

    unit: Unit
    own_h: float
    parent_h: float


def cost_so_far(ledger: Path, job: str) -> NetworkCost:
    """Device-hours of ``job`` and its ancestors: ``own_h``, and ``parent_h`` of the parent's pre-training among them.

    Every attempt counts.
    """
    view = derive(read_ledger(ledger).records)
    own_h, parent_h = network_h(view, job)
    return {"unit": view.unit, "own_h": own_h, "parent_h": parent_h}
