"""The values of a cost report. Hours are device-hours; money is at the given prices, and None without prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accounting.cost.entries import Amount, Entry
from accounting.cost.forecast import Forecast
from accounting.cost.prices import Prices
from accounting.study.facts import DeclaredParent
from accounting.study.plans import StoredPlan
from accounting.words.names import Unit
from reports.data.caveats import Caveats
from reports.measure.planned import Step


@dataclass(frozen=True)
class Part:
    """The amount of one value of a key, such as a route or owner; None: of no route, of all targets, or not on record."""

    value: str | int | None
    unit: Unit
    amount: Amount


@dataclass(frozen=True)
class Partition:
    """The whole ledger divided by one key; in each unit, the parts add up to the total."""

    key: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Use:
    """How the sessions used the devices of the study's unit, in device-hours.

    ``capacity_h`` is all that was available; held time is the sum of productive, overhead and lost.
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
        """Held hours divided by capacity."""
        return self.held_h / self.capacity_h if self.capacity_h > 0 else None


@dataclass(frozen=True)
class NetworkCost:
    """One delivered network: what it is charged under each policy, and in money under the headline policy."""

    label: str
    target: int
    replicate: int
    test_top1: float | None
    hours: Mapping[str, float]
    money: float | None


@dataclass(frozen=True)
class Measured:
    """The energy of all attempts that were measured in the same way."""

    how: str
    kwh: float
    attempts: int
    hours: float


@dataclass(frozen=True)
class EnergyUse:
    """All energy that the meters read; ``unmeasured_h`` are device-hours in the study's unit that no meter read."""

    measured: tuple[Measured, ...]
    unmeasured_h: float

    @property
    def kwh(self) -> float | None:
        """The measured energy in kWh; None if nothing was measured."""
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
    """Device-hours held by the audit's balances, in the study's unit; computed independently of the totals."""
    adds_up: bool
    """Whether both agree and the audit finds no error."""
    partitions: tuple[Partition, ...]
    plans: tuple[StoredPlan, ...]
    steps: tuple[Step, ...]
    forecast: Forecast
    is_done: bool
    num_running: int
    """Number of running attempts; their cost is counted until the ledger's last record."""
    num_devices: float
    """Number of devices of the study's unit in the last session."""
    hours_per_hour: float
    """Device-hours that all of them give in an hour; with declared rates of GPU models, those of the reference."""
    use: Use
    networks: tuple[NetworkCost, ...]
    energy: EnergyUse
    labels: Mapping[str, str]
    """Labels of the last session."""
    caveats: Caveats
    declared: DeclaredParent | None = None
    """The declared cost of the parent. It is in no figure of the report, which has only the ledger's costs."""

    @property
    def total(self) -> Amount:
        """The total in the study's unit."""
        return self.totals[self.unit]

    @property
    def price_h(self) -> float | None:
        """The average cost of a device-hour in the study's unit; None without prices."""
        money, hours = self.total.money, self.total.allocated_h
        return None if money is None or hours <= 0 else money / hours
