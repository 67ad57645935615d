"""Everything that a study held, as entries that add up to its ledger: each attempt and start-up once, with its owner.

An entry's pieces are the devices that count for its cost (:mod:`accounting.cost.attempts`: CUDA devices if it held any,
otherwise CPU cores), each with its hours as they were held and its price. Money is hours × price, so it adds up as hours
do. Amounts are in the hours of the study's reference GPU model, if it declares an equivalence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from accounting.cost.at_rates import as_held
from accounting.cost.attempts import device_kind_of
from accounting.cost.energy import Energy, energy_of
from accounting.cost.prices import Prices, Stated
from accounting.cost.values import Attempt, CostView, Device, StartUp
from accounting.ledger.records import Kind, Record
from accounting.words.names import DeviceKind, Unit
from accounting.words.quantities import HOUR_S

START_UP = "start_up"
"""The phase of start-ups in which no attempt began."""
OWNER = "owner"
"""The label that names an owner other than the user's account."""


@dataclass(frozen=True)
class Amount:
    """Device-hours and their cost, which can be summed. ``money`` is None if no price is known."""

    attempts: int = 0
    allocated_h: float = 0.0
    productive_h: float = 0.0
    overhead_h: float = 0.0
    lost_h: float = 0.0
    money: float | None = None

    def __add__(self, other: Amount) -> Amount:
        """The sum; its money is known if that of either part is."""
        known = [money for money in (self.money, other.money) if money is not None]
        return Amount(
            self.attempts + other.attempts,
            self.allocated_h + other.allocated_h,
            self.productive_h + other.productive_h,
            self.overhead_h + other.overhead_h,
            self.lost_h + other.lost_h,
            sum(known) if known else None,
        )

    @staticmethod
    def sum(parts: Iterable[Amount], *, priced: bool = False) -> Amount:
        """The sum of many amounts. With ``priced``, an empty sum costs 0; otherwise its money is unknown."""
        total = Amount(money=0.0 if priced else None)
        for part in parts:
            total += part
        return total


@dataclass(frozen=True)
class Piece:
    """One device of an entry: the amount, its device-hours, and the price per device-hour."""

    device: Device
    amount: float
    hours: float
    price: Stated | None

    @property
    def money(self) -> float | None:
        """What it costs; None without a price."""
        return None if self.price is None else self.hours * self.price.value


@dataclass(frozen=True)
class Whose:
    """Who ran a session, by label or account, both as recorded."""

    owner: str | None
    labels: Mapping[str, str]


NOBODY = Whose(None, {})


@dataclass(frozen=True)
class Entry:
    """An attempt, or a start-up in which none began (without route, target and replicate)."""

    held: Attempt | StartUp
    unit: Unit
    route: str
    phase: str
    target: int | None
    replicate: int | None
    whose: Whose
    pieces: tuple[Piece, ...]
    amount: Amount
    energy: Energy | None

    @property
    def attempt(self) -> Attempt | None:
        """The attempt's id; None for a start-up."""
        return self.held if isinstance(self.held, Attempt) else None


def entries_of(view: CostView, records: Sequence[Record], prices: Prices | None) -> tuple[Entry, ...]:
    """One for each attempt and start-up, in order of time.

    Raises:
        BadPrices: a device that was held has no price.

    """
    devices = _Devices(view)
    whose = whose_sessions(records)
    energy = energy_of(view, records)
    held = as_held(view)
    found = [
        Entry(
            held=attempt,
            unit=Unit.of(attempt.device_kind),
            route=attempt.route,
            phase=attempt.phase,
            target=attempt.target,
            replicate=attempt.replicate,
            whose=whose.get(attempt.session, NOBODY),
            pieces=(pieces := devices.pieces(as_it_was, prices)),
            amount=Amount(
                1,
                attempt.allocated_s / HOUR_S,
                attempt.productive_s / HOUR_S,
                attempt.overhead_s / HOUR_S,
                attempt.lost_s / HOUR_S,
                _money(pieces, prices),
            ),
            energy=energy.get(attempt.attempt),
        )
        for attempt, as_it_was in zip(view.attempts, held.attempts, strict=True)
    ]
    found += [
        _startup(start, whose.get(start.session, NOBODY), devices.pieces(as_it_was, prices), prices)
        for start, as_it_was in zip(view.startups, held.startups, strict=True)
    ]
    return tuple(sorted(found, key=lambda entry: entry.held.begin_t))


def _startup(start: StartUp, whose: Whose, pieces: tuple[Piece, ...], prices: Prices | None) -> Entry:
    hours = start.allocated_s / HOUR_S
    amount = Amount(0, hours, 0.0, hours, 0.0, _money(pieces, prices))
    return Entry(start, Unit.of(start.device_kind), "", START_UP, None, None, whose, pieces, amount, None)


def whose_sessions(records: Sequence[Record]) -> dict[str, Whose]:
    """The owner of each session, from its ``session_opened``; older ledgers do not have one."""
    found = {}
    for record in records:
        if record["kind"] == Kind.SESSION_OPENED:
            said = record.get("labels")
            labels = {str(k): str(v) for k, v in said.items()} if isinstance(said, dict) else {}
            owner = labels.get(OWNER, record.get("owner"))
            found[str(record["session"])] = Whose(None if owner is None else str(owner), labels)
    return found


def _money(pieces: tuple[Piece, ...], prices: Prices | None) -> float | None:
    return None if prices is None else sum(piece.money or 0.0 for piece in pieces)


class _Devices:
    """The devices of each session, and the pieces of what was held of them."""

    def __init__(self, view: CostView) -> None:
        self._of_session = {s.session: {d.device: d for d in s.capacity} for s in view.sessions}
        self._anywhere = {device: found for known in self._of_session.values() for device, found in known.items()}
        self._kinds: dict[str, DeviceKind] = {name: found.device_kind for name, found in self._anywhere.items()}

    def pieces(self, held: Attempt | StartUp, prices: Prices | None) -> tuple[Piece, ...]:
        """The devices that count for the entry's cost; for a start-up that names none, those of its session."""
        length_h = (held.end_t - held.begin_t) / HOUR_S
        amounts: dict[str, float] = defaultdict(float)
        for device, amount in held.devices.items():
            if device_kind_of(device, self._kinds) == held.device_kind and amount > 0:
                amounts[device] += amount
        if not amounts and held.allocated_s > 0:
            amounts = self._usual(held, held.allocated_s / HOUR_S / length_h)
        return tuple(
            Piece(found, amount, amount * length_h, None if prices is None else prices.of(found))
            for device, amount in amounts.items()
            for found in [self._device(held, device)]
        )

    def _usual(self, held: Attempt | StartUp, amount: float) -> dict[str, float]:
        """An amount of unknown devices, divided among the session's devices of that kind."""
        known = [d for d in self._of_session.get(held.session, {}).values() if d.device_kind == held.device_kind]
        whole = sum(device.amount for device in known)
        if whole <= 0:
            return {"": amount}
        return {device.device: amount * device.amount / whole for device in known}

    def _device(self, held: Attempt | StartUp, device: str) -> Device:
        known = self._of_session.get(held.session, {})
        found = known.get(device) or self._anywhere.get(device)
        return found or Device(device, held.device_kind, 0.0, "", "")
