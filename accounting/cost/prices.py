"""Prices of devices and electricity, read from a user's ``prices.yaml``, each number with its date and source.

Money, energy and carbon are derived when a ledger is read, with current prices, and never stored.

A file has ``devices``, each under its name in the ledger or under its kind (``cpu_core``, ``cuda``): ``price_per_hour`` of
one CPU core or GPU, ``currency``, ``date``, ``source``. Optionally it has ``electricity`` (``price_per_kwh``),
``pue`` (``ratio``: energy of the whole site over that of its computers) and ``grid`` (``g_co2e_per_kwh``).
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accounting.cost.values import Device
from accounting.study.yaml12 import Document, Place, YamlProblem, read_yaml
from accounting.words.plain_text import one_line, plain_values

MAX_PRICE = 1e6
MAX_PUE = 10.0
MAX_GRAMS = 5000.0
MAX_LETTERS = 300
SECTIONS = ("devices", "electricity", "pue", "grid")
_CURRENCY = re.compile(r"[A-Z]{3}")


class BadPrices(ValueError):
    """Prices that cannot be used: what was given, what is allowed, what to do, in one line."""


@dataclass(frozen=True)
class Stated:
    """A stated number, with date (ISO) and source."""

    value: float
    date: str
    source: str
    currency: str | None = None
    """ISO 4217; None if it is not money."""


@dataclass(frozen=True)
class Prices:
    """The content of a prices file. ``devices`` has prices per device-hour, by name or kind in lower case.

    ``electricity`` is per kWh, ``pue`` a ratio of at least 1, ``grid`` grams of CO2 equivalents per kWh.
    """

    path: str
    currency: str
    devices: Mapping[str, Stated]
    electricity: Stated | None = None
    pue: Stated | None = None
    grid: Stated | None = None

    def of(self, device: Device) -> Stated:
        """The price of a device-hour: by the device's name, otherwise by its kind.

        Raises:
            BadPrices: there is none.

        """
        for key in (device.name.lower(), device.device_kind):
            if key in self.devices:
                return self.devices[key]
        allowed = " or ".join(filter(None, (f"{device.name!r}" if device.name else "", device.device_kind)))
        raise BadPrices(
            f"{self.path}: no price for {device.name or device.device} ({device.device_kind}); it has "
            f"{', '.join(sorted(self.devices))}; add one under devices as {allowed}"
        )


def read_prices(path: Path) -> Prices:
    """Read a prices file.

    Raises:
        BadPrices: it cannot be read, or something in it is wrong.

    """
    try:
        documents = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadPrices(f"{path}: {error.strerror}; name a file with prices, or leave --prices out") from None
    except (UnicodeDecodeError, YamlProblem) as error:
        raise BadPrices(f"{path} cannot be read as YAML: {one_line(error)}") from None
    if len(documents) != 1 or not isinstance(raw := documents[0].value, dict):
        raise BadPrices(f"{path}: a mapping with the keys {', '.join(SECTIONS)} is expected")
    return _Reader(path, documents[0]).prices(raw)


class _Reader:
    """Reads the sections of a document; every error names the file and the line."""

    def __init__(self, path: Path, document: Document) -> None:
        self._path, self._document = path, document

    def prices(self, raw: Mapping[str, object]) -> Prices:
        self._only(raw, SECTIONS, ())
        devices = self._devices(raw.get("devices"))
        electricity = self._section(raw, "electricity", "price_per_kwh", 0.0, MAX_PRICE, is_money=True)
        stated = [*devices.values(), *([electricity] if electricity else [])]
        currencies = sorted({str(each.currency) for each in stated})
        if len(currencies) > 1:
            raise BadPrices(
                f"{self._path}: currencies {', '.join(currencies)} given; sums need one currency: convert all prices to it"
            )
        return Prices(
            path=str(self._path),
            currency=currencies[0],
            devices=devices,
            electricity=electricity,
            pue=self._section(raw, "pue", "ratio", 1.0, MAX_PUE),
            grid=self._section(raw, "grid", "g_co2e_per_kwh", 0.0, MAX_GRAMS),
        )

    def _devices(self, raw: object) -> dict[str, Stated]:
        if not isinstance(raw, dict) or not raw:
            raise self._refusal(
                ("devices",), "devices is not a mapping of device names or kinds to prices; name at least one"
            )
        found: dict[str, Stated] = {}
        for name in raw:
            place = ("devices", str(name))
            if str(name).lower() in found:
                raise self._refusal(place, f"{name} is given twice, in other letters; keep one")
            found[str(name).lower()] = self._stated(raw[name], place, "price_per_hour", 0.0, MAX_PRICE, is_money=True)
        return found

    def _section(
        self, raw: Mapping[str, object], name: str, key: str, low: float, high: float, *, is_money: bool = False
    ) -> Stated | None:
        return self._stated(raw[name], (name,), key, low, high, is_money=is_money) if name in raw else None

    def _stated(self, raw: object, place: Place, key: str, low: float, high: float, *, is_money: bool) -> Stated:
        keys = (key, *(("currency",) if is_money else ()), "date", "source")
        if not isinstance(raw, dict) or set(keys) - raw.keys():
            raise self._refusal(place, f"{place[-1]} needs the keys {', '.join(keys)}")
        self._only(raw, keys, place)
        value = raw[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self._refusal(
                (*place, key), f"{key} is {_shown(value)}; a number from {low:g} to {high:g} is allowed"
            )
        currency = raw.get("currency")
        if is_money and not (isinstance(currency, str) and _CURRENCY.fullmatch(currency)):
            raise self._refusal(
                (*place, "currency"), f"currency is {_shown(currency)}; three capitals are allowed, as EUR"
            )
        source = raw["source"]
        if not isinstance(source, str) or not 0 < len(source.strip()) <= MAX_LETTERS:
            raise self._refusal(
                (*place, "source"), f"source is {_shown(source)}; say in words where the number is from"
            )
        return Stated(float(value), self._date(raw["date"], place), str(plain_values(source.strip())), currency)

    def _date(self, raw: object, place: Place) -> str:
        try:
            if isinstance(raw, str) and len(raw) == len("2026-11-26"):
                return datetime.date.fromisoformat(raw).isoformat()
        except ValueError:
            pass
        raise self._refusal((*place, "date"), f"date is {_shown(raw)}; the day of the price is allowed, as 2026-11-26")

    def _only(self, raw: Mapping[str, object], allowed: tuple[str, ...], place: Place) -> None:
        for key in raw:
            if key not in allowed:
                raise self._refusal((*place, str(key)), f"unknown key {_shown(key)}; allowed: {', '.join(allowed)}")

    def _refusal(self, place: Place, what: str) -> BadPrices:
        line = next((n for end in range(len(place), 0, -1) if (n := self._document.lines.get(place[:end]))), None)
        return BadPrices(one_line(f"{self._path}{f', line {line}' if line else ''}: {what}"))


def _shown(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
