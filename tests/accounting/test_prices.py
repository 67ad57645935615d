"""Prices are read with their dates and sources; any error in the file is reported in one line that names the place."""

import copy

import pytest
import yaml

from accounting.cost.prices import BadPrices, Stated, read_prices
from accounting.cost.values import Device

CORE = {"price_per_hour": 0.05, "currency": "EUR", "date": "2026-11-26", "source": "our own reckoning"}
WHOLE = {
    "devices": {"cpu_core": CORE, "NVIDIA H100 80GB HBM3": CORE | {"price_per_hour": 3}},
    "electricity": {"price_per_kwh": 0.2, "currency": "EUR", "date": "2026-11-26", "source": "the bill"},
    "pue": {"ratio": 1.5, "date": "2026-11-26", "source": "the operator"},
    "grid": {"g_co2e_per_kwh": 281, "date": "2020-12-08", "source": "EEA"},
}


@pytest.fixture
def write(tmp_path):
    def write(document):
        path = tmp_path / "prices.yaml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
        return path

    return write


def device(name, kind="cuda"):
    return Device("id", kind, 1.0, name, "node")


def test_a_whole_file(write):
    path = write(WHOLE)
    prices = read_prices(path)
    assert (prices.path, prices.currency) == (str(path), "EUR")
    assert prices.electricity == Stated(0.2, "2026-11-26", "the bill", "EUR")
    assert prices.pue == Stated(1.5, "2026-11-26", "the operator")
    assert prices.grid == Stated(281.0, "2020-12-08", "EEA")


def test_a_device_is_priced_by_its_name_else_by_its_kind(write):
    prices = read_prices(write(WHOLE))
    assert prices.of(device("nvidia H100 80GB HBM3")).value == 3.0
    assert prices.of(device("any processor", "cpu_core")).value == 0.05
    with pytest.raises(BadPrices) as refused:
        prices.of(device("NVIDIA A100"))
    assert str(refused.value).endswith(
        "no price for NVIDIA A100 (cuda); it has cpu_core, nvidia h100 80gb hbm3; add one under devices as 'NVIDIA A100' "
        "or cuda"
    )


def test_electricity_pue_and_grid_may_be_left_out(write):
    prices = read_prices(write({"devices": {"cpu_core": CORE}}))
    assert (prices.electricity, prices.pue, prices.grid) == (None, None, None)


def changed(*place, to):
    document = copy.deepcopy(WHOLE)
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    if to is None:
        del holder[place[-1]]
    else:
        holder[place[-1]] = to
    return document


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("", "a mapping with the keys devices, electricity, pue, grid is expected"),
        ("- 1", "a mapping with the keys"),
        ("a: [", "cannot be read as YAML"),
        ("a: 1\n---\nb: 2", "a mapping with the keys"),
        (changed("devices", to={}), "name at least one"),
        (changed("devices", to=None), "name at least one"),
        (changed("devices", "CPU_Core", to=CORE), "CPU_Core is given twice"),
        (changed("devices", "cpu_core", to=0.05), "line 2: cpu_core needs the keys price_per_hour, currency, date, source"),
        (changed("devices", "cpu_core", "source", to=None), "line 2: cpu_core needs the keys"),
        (changed("devices", "cpu_core", "note", to="x"), "line 7: unknown key 'note'; allowed: price_per_hour, currency"),
        (changed("devices", "cpu_core", "price_per_hour", to=-1), "line 3: price_per_hour is -1; a number from 0 to 1e+06"),
        (changed("devices", "cpu_core", "price_per_hour", to=True), "price_per_hour is True"),
        (changed("devices", "cpu_core", "price_per_hour", to="0.05"), "price_per_hour is '0.05'"),
        (changed("devices", "cpu_core", "price_per_hour", to=float("nan")), "price_per_hour is nan"),
        (changed("devices", "cpu_core", "currency", to="euro"), "three capitals are allowed, as EUR"),
        (changed("devices", "cpu_core", "date", to="26.11.2026"), "the day of the price is allowed, as 2026-11-26"),
        (changed("devices", "cpu_core", "date", to="2026-02-30"), "date is '2026-02-30'"),
        (changed("devices", "cpu_core", "source", to=" "), "say in words where the number is from"),
        (changed("electricity", "currency", to="USD"), "currencies EUR, USD given; sums need one currency"),
        (changed("pue", "ratio", to=0.9), "ratio is 0.9; a number from 1 to 10 is allowed"),
        (changed("grid", "g_co2e_per_kwh", to=1e9), "a number from 0 to 5000 is allowed"),
        (changed("carbon", to={}), "unknown key 'carbon'; allowed: devices, electricity, pue, grid"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(document, says, write):
    path = write(document)
    with pytest.raises(BadPrices) as refused:
        read_prices(path)
    assert says in str(refused.value)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BadPrices, match=r"No such file or directory; name a file with prices"):
        read_prices(tmp_path / "prices.yaml")
