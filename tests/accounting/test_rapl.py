"""Energy of processors as the system counts it (RAPL): counters may overflow, disappear or be unreadable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from accounting.meters.meter import Reading
from accounting.meters.rapl import RaplReader


def zone(powercap: Path, place: str, name: str, energy_uj: int, range_uj: int = 1_000_000) -> Path:
    folder = powercap / place
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def test_packages_and_their_memory_count_over_overflows(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    other = zone(tmp_path, "intel-rapl:1", "package-1", 10)
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 500_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 77)
    zone(tmp_path, "intel-rapl:2", "psys", 99)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 900_000)
    reader = RaplReader("n/cpu", tmp_path)
    assert reader.devices() == ("n/cpu",)
    first = reader.read("n/cpu").energy_j
    package.write_text("100000\n")  # 1,000,000 - 900,000 before the overflow + 100,000 after it
    other.write_text("50010\n")
    memory.write_text("600000\n")
    second = reader.sample("n/cpu").energy_j
    assert first is not None
    assert second is not None
    assert second - first == pytest.approx((200_000 + 50_000 + 100_000) / 1e6)
    assert reader.read("elsewhere/cpu").flags == ("device_unreadable",)


def test_a_counter_that_goes_away_is_flagged(tmp_path: Path) -> None:
    energy = zone(tmp_path, "intel-rapl:0", "package-0", 5)
    reader = RaplReader("n/cpu", tmp_path)
    energy.unlink()
    assert reader.read("n/cpu") == Reading(flags=("device_unreadable",))


def none_there(powercap: Path) -> None:
    powercap.mkdir()


def not_permitted(powercap: Path) -> None:
    zone(powercap, "intel-rapl:0", "package-0", 5).unlink()


@pytest.mark.parametrize("make", [none_there, not_permitted, lambda powercap: None])
def test_without_a_counter_that_may_be_read_there_is_no_reader(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "powercap")
    with pytest.raises(OSError, match="no RAPL counter can be read"):
        RaplReader("n/cpu", tmp_path / "powercap")
