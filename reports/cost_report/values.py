"""The values of a cost report. Hours are device-hours; money is at the prices that were given, None without any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accounting.cost.entries import Amount, Entry
from accounting.cost.forecast import Forecast
from accounting.cost.prices import Prices
from accounting.study.facts import DeclaredParent
from accounting.study.plans import StoredPlan
from accounting.words.names import Unit
from reports.measure.planned import Step


@dataclass(frozen=True)
class Part:
    """What has one value of a key (a route, an owner); ``text`` is the value for people, None where there is none."""

    value: str | int | None
    text: str
    unit: Unit
    amount: Amount


@dataclass(frozen=True)
class Partition:
    """The whole ledger divided by one key: its parts add up to the totals, in each unit."""

    key: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Use:
    """What became of the time that the sessions had devices of the study's unit, in device-hours.

    ``capacity_h`` is what there was; held is productive, overhead and lost together.
    """

    capacity_h: float
    held_h: float
    productive_h: float
    overhead_h: float
    lost_h: float
    idle_h: float
    money: Mapping[str, float] | None
    """Money for productive, overhead, lost and idle hours; None without prices."""

    @property
    def utilisation(self) -> float | None:
        """Held over capacity."""
        return self.held_h / self.capacity_h if self.capacity_h > 0 else None


@dataclass(frozen=True)
class NetworkCost:
    """One delivered network: what it is charged under each policy, and the money of it under the headline policy."""

    label: str
    target: int
    replicate: int
    test_top1: float | None
    hours: Mapping[str, float]
    money: float | None


@dataclass(frozen=True)
class Measured:
    """Energy of the attempts that were measured in one way."""

    how: str
    kwh: float
    attempts: int
    hours: float


@dataclass(frozen=True)
class EnergyUse:
    """All energy that the meters read; ``unmeasured_h`` are device-hours of the study's unit that none has read."""

    measured: tuple[Measured, ...]
    unmeasured_h: float

    @property
    def kwh(self) -> float | None:
        """None where nothing was measured."""
        return sum(each.kwh for each in self.measured) if self.measured else None


@dataclass(frozen=True)
class CostReport:
    """Everything that ``prune-or-search cost`` shows of a study."""

    study: str
    unit: Unit
    prices: Prices | None
    entries: tuple[Entry, ...]
    totals: Mapping[Unit, Amount]
    """The study's unit first; device-hours of another kind are never added to it."""
    audit_h: float
    """What the audit's balances say was held, in the study's unit, by another way than the totals."""
    adds_up: bool
    """Whether both agree, and the audit finds no error."""
    partitions: tuple[Partition, ...]
    plans: tuple[StoredPlan, ...]
    steps: tuple[Step, ...]
    forecast: Forecast
    is_done: bool
    num_running: int
    """Attempts under way, counted until the last record of the ledger."""
    num_devices: float
    """Number of devices of the study's unit in the last session."""
    use: Use
    networks: tuple[NetworkCost, ...]
    energy: EnergyUse
    labels: Mapping[str, str]
    """Labels of the last session."""
    warnings: tuple[str, ...]
    declared: DeclaredParent | None = None
    """What the parent is said to have cost: in no figure of the report, which has the ledger's costs alone."""

    @property
    def total(self) -> Amount:
        """The total in the study's unit."""
        return self.totals[self.unit]

    @property
    def price_h(self) -> float | None:
        """What a device-hour of the study's unit cost on average; None without prices."""
        money, hours = self.total.money, self.total.allocated_h
        return None if money is None or hours <= 0 else money / hours
