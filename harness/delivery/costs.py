"""The cost so far of the jobs that led to a network, for its model card."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from accounting.cost.attempts import derive
from accounting.cost.shares import network_h
from accounting.ledger.store import read_ledger
from accounting.words.names import Unit


class NetworkCost(TypedDict):
    """Device-hours of the jobs that led to a network: of its parent's pre-training (``parent_h``), and of the rest."""

    unit: Unit
    own_h: float
    parent_h: float


def cost_so_far(ledger: Path, job: str) -> NetworkCost:
    """Device-hours of all attempts at ``job`` and its ancestors.

    ``parent_h`` is the parent's pre-training, ``own_h`` everything else.
    """
    view = derive(read_ledger(ledger).records)
    own_h, parent_h = network_h(view, job)
    return {"unit": view.unit, "own_h": own_h, "parent_h": parent_h}
