"""The measured energy in words: how it was measured, for how much of the work, and the electricity cost and carbon."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.cost.prices import Stated
from accounting.words.names import unit_text
from reports.cost_report.values import CostReport

NONE_MEASURED = "energy: not measured; no meter of this study's devices read an energy counter"
NO_PUE = "no PUE is given, so what the site uses beside the devices is left out"


@dataclass(frozen=True)
class FromEnergy:
    """What follows from the measured energy; a value is None if the energy, or a number that it needs, is missing.

    ``site_kwh`` is the energy × PUE, or just the energy if no PUE is given.
    """

    site_kwh: float | None
    electricity: float | None
    co2e_g: float | None


def from_energy(report: CostReport) -> FromEnergy:
    """Money for electricity and grams of CO2 equivalents, computed with the numbers that the prices state."""
    kwh, prices = report.energy.kwh, report.prices
    if kwh is None or prices is None:
        return FromEnergy(kwh, None, None)
    site = kwh * (prices.pue.value if prices.pue else 1.0)
    return FromEnergy(
        site,
        None if prices.electricity is None else site * prices.electricity.value,
        None if prices.grid is None else site * prices.grid.value,
    )


def energy_lines(report: CostReport) -> list[str]:
    """What is known about the energy, one sentence per line."""
    energy, prices, unit = report.energy, report.prices, unit_text(report.unit)
    if energy.kwh is None:
        return [NONE_MEASURED, "electricity and carbon follow from measured energy alone, so neither is given"]
    whole_h = report.total.allocated_h
    lines = [f"energy: {energy.kwh:.4g} kWh measured, over {whole_h - energy.unmeasured_h:.4g} of {whole_h:.4g} {unit}"]
    lines += [
        f"  {m.kwh:.4g} kWh of {m.attempts} attempt{'' if m.attempts == 1 else 's'} by {m.how}" for m in energy.measured
    ]
    if energy.unmeasured_h > 0:
        lines.append(f"not measured: {energy.unmeasured_h:.4g} {unit} of attempts and start-ups, and all idle time")
    else:
        lines.append("not measured: idle time")
    found = from_energy(report)
    if prices is None:
        return [*lines, "electricity and carbon: no prices file gives a price, a PUE or a grid intensity"]
    if prices.pue is None:
        lines.append(NO_PUE)
    factor = f" × PUE {prices.pue.value:g}{_from(prices.pue)}" if prices.pue else ""
    if prices.electricity is None or found.electricity is None:
        lines.append(f"electricity: no price in {prices.path}")
    else:
        each = f"{prices.electricity.value:g} {prices.currency} per kWh{_from(prices.electricity)}"
        lines.append(
            f"electricity: {found.electricity:.4g} {prices.currency}, of {energy.kwh:.4g} kWh{factor} at {each}; "
            "beside the price of the devices, and in no total"
        )
    if prices.grid is None or found.co2e_g is None:
        lines.append(f"carbon: no grid intensity in {prices.path}")
    else:
        lines.append(
            f"carbon: {found.co2e_g:.4g} g CO2e, of {energy.kwh:.4g} kWh{factor} at {prices.grid.value:g} g per kWh"
            f"{_from(prices.grid)}"
        )
    return lines


def _from(stated: Stated) -> str:
    return f" ({stated.date}; {stated.source})"
