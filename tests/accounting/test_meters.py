from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.meters import nvml
from accounting.meters.meter import Measurement, Meter, NullReader, Reading, ScriptedReader
from accounting.meters.nvml import NvmlReader, open_reader

pynvml = pytest.importorskip("pynvml", reason="the NVML bindings (nvidia-ml-py) are not installed")


def clock(*times: float) -> mock.Mock:
    return mock.Mock(side_effect=times)


def test_without_devices_the_wall_clock_is_the_meter() -> None:
    meter = Meter(NullReader(), clock(100.0, 107.5))
    meter.begin("a", ["core0"])
    assert meter.end("a") == Measurement(7.5, None, None, None, "wall_clock")
    assert NullReader().read("core0") == Reading()


def test_differences_of_energy_means_of_utilisation_peak_of_memory() -> None:
    reader = ScriptedReader(
        {
            "g0": [Reading(1000.0, 0.2, 500.0), Reading(1300.0, 0.8, 900.0)],
            "g1": [Reading(50.0, 0.6, 700.0), Reading(75.0, 0.8, 600.0)],
        }
    )
    meter = Meter(reader, clock(0.0, 10.0))
    meter.begin("a", ["g0", "g1", "core0"])
    got = meter.end("a")
    assert (got.wall_s, got.energy_j, got.peak_memory_mb, got.meter, got.flags) == (10, 325, 900, "scripted", ())
    assert got.mean_utilisation == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("before", "after", "flags"),
    [
        (Reading(1000.0), Reading(3.0), ("energy_reset",)),
        (Reading(None), Reading(3.0), ("energy_unsupported",)),
        (Reading(flags=("device_unreadable",)), Reading(), ("device_unreadable", "energy_unsupported")),
    ],
)
def test_what_cannot_be_trusted_is_flagged_not_reported(
    before: Reading, after: Reading, flags: tuple[str, ...]
) -> None:
    meter = Meter(ScriptedReader({"g0": [before, after]}), clock(0.0, 1.0))
    meter.begin("a", ["g0"])
    got = meter.end("a")
    assert (got.energy_j, got.mean_utilisation, got.peak_memory_mb, got.flags) == (None, None, None, flags)


def test_two_attempts_at_once() -> None:
    reader = ScriptedReader({"g0": [Reading(0.0), Reading(10.0), Reading(30.0), Reading(60.0)]})
    meter = Meter(reader, clock(0.0, 1.0, 2.0, 3.0))
    meter.begin("a", ["g0"])
    meter.begin("b", ["g0"])
    assert (meter.end("a").energy_j, meter.end("b").energy_j) == (30, 50)


def test_begin_and_end_must_pair() -> None:
    meter = Meter(NullReader())
    meter.begin("a", [])
    with pytest.raises(ValueError, match="'a' is being measured already"):
        meter.begin("a", [])
    with pytest.raises(ValueError, match="'b' was not begun; being measured: a"):
        meter.end("b")
    meter.end("a")
    with pytest.raises(ValueError, match="being measured: none"):
        meter.end("a")


def test_a_script_ends() -> None:
    with pytest.raises(LookupError, match="no reading left for device 'g0'"):
        ScriptedReader({"g0": []}).read("g0")


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=2))
def test_energy_is_never_negative(energies: list[float]) -> None:
    meter = Meter(ScriptedReader({"g": [Reading(energies[0]), Reading(energies[1])]}), clock(0.0, 1.0))
    meter.begin("a", ["g"])
    got = meter.end("a")
    assert (got.energy_j is None) == ("energy_reset" in got.flags) == (energies[1] < energies[0])
    assert got.energy_j is None or got.energy_j >= 0


UUIDS = ("GPU-aaaa1111-0000", "GPU-aaaa2222-0000", "GPU-bbbb3333-0000")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """A fake NVML with three devices, whose handles are their indices."""
    fake = mock.create_autospec(pynvml, spec_set=False)
    fake.NVMLError = pynvml.NVMLError
    fake.nvmlDeviceGetCount.return_value = 3
    fake.nvmlDeviceGetHandleByIndex.side_effect = lambda index: index
    fake.nvmlDeviceGetUUID.side_effect = lambda handle: UUIDS[handle]
    fake.nvmlDeviceGetName.return_value = b"NVIDIA H100 80GB HBM3"
    fake.nvmlDeviceGetTotalEnergyConsumption.side_effect = lambda handle: 1_500 + handle
    fake.nvmlDeviceGetUtilizationRates.return_value = mock.Mock(gpu=73, memory=10)
    fake.nvmlDeviceGetMemoryInfo.return_value = mock.Mock(total=80e9, used=2_500_000_000, free=0)
    monkeypatch.setattr(nvml.importlib, "import_module", lambda name: fake if name == "pynvml" else None)
    return fake


def test_nvml_reads_in_our_units(driver: mock.Mock) -> None:
    reader = open_reader()
    assert isinstance(reader, NvmlReader)
    assert reader.meter == "nvml"
    assert reader.devices() == UUIDS
    assert reader.name(UUIDS[0]) == "NVIDIA H100 80GB HBM3"
    assert reader.read(UUIDS[1]) == Reading(energy_j=1.501, utilisation=0.73, memory_mb=2500.0)
    driver.nvmlDeviceGetTotalEnergyConsumption.assert_called_once_with(1)


def gpm(driver: mock.Mock, *percents: float, supported: int = 1) -> None:
    """Give the fake NVML multiprocessor counters (GPM) that return these percentages one after another."""
    answers = iter(percents)
    for name in ("NVML_GPM_METRICS_GET_VERSION", "NVML_GPM_METRIC_SM_UTIL", "NVML_SUCCESS", "c_nvmlGpmMetricsGet_t"):
        setattr(driver, name, getattr(pynvml, name))
    driver.nvmlDeviceGetPowerUsage.return_value = 70_500
    driver.nvmlGpmQueryDeviceSupport.return_value = mock.Mock(isSupportedDevice=supported)
    driver.nvmlGpmSampleAlloc.side_effect = lambda: pynvml.c_nvmlGpmSample_t()

    def answer(asked: object) -> object:
        (metric,) = asked.metrics[: asked.numMetrics]  # type: ignore[attr-defined]
        assert metric.metricId == pynvml.NVML_GPM_METRIC_SM_UTIL
        metric.value = next(answers)
        return asked

    driver.nvmlGpmMetricsGet.side_effect = answer


def test_samples_have_power_and_the_activity_since_the_last(driver: mock.Mock) -> None:
    gpm(driver, 41.25, float("nan"))
    reader = NvmlReader()
    plain = reader.read(UUIDS[1])
    assert reader.sample(UUIDS[1]) == replace(plain, power_w=70.5, sm_activity=None)
    assert reader.sample(UUIDS[1]) == replace(plain, power_w=70.5, sm_activity=0.4125)
    assert reader.sample(UUIDS[1]).sm_activity is None, "NVML gives no number where nothing was counted"
    assert driver.nvmlGpmSampleFree.call_count == 2


@pytest.mark.parametrize("why", ["not supported", "no permission", "an older pynvml"])
def test_devices_without_such_counters_are_asked_once(driver: mock.Mock, why: str) -> None:
    gpm(driver, supported=0 if why == "not supported" else 1)
    if why == "no permission":
        driver.nvmlGpmSampleGet.side_effect = pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
    elif why == "an older pynvml":
        driver.nvmlGpmSampleAlloc.side_effect = AttributeError("no such function")
    reader = NvmlReader()
    assert [reader.sample(UUIDS[0]).sm_activity for _ in range(3)] == [None] * 3
    assert driver.nvmlGpmQueryDeviceSupport.call_count == 1


def test_a_device_that_is_gone_is_sampled_as_it_is_read(driver: mock.Mock) -> None:
    assert NvmlReader().sample("GPU-unknown") == Reading(flags=("device_unreadable",))


def test_nvml_uuids_may_be_bytes(driver: mock.Mock) -> None:
    driver.nvmlDeviceGetUUID.side_effect = lambda handle: UUIDS[handle].encode()
    assert NvmlReader().devices() == UUIDS


def not_supported(handle: object) -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_nvml_without_an_energy_counter(driver: mock.Mock) -> None:
    driver.nvmlDeviceGetTotalEnergyConsumption.side_effect = not_supported
    assert NvmlReader().read(UUIDS[0]) == Reading(None, 0.73, 2500.0)


def test_nvml_device_that_fell_off_the_bus(driver: mock.Mock) -> None:
    for name in ("TotalEnergyConsumption", "UtilizationRates", "MemoryInfo"):
        getattr(driver, f"nvmlDeviceGet{name}").side_effect = not_supported
    assert NvmlReader().read(UUIDS[0]) == Reading(flags=("device_unreadable",))
    assert NvmlReader().read("GPU-unknown") == Reading(flags=("device_unreadable",))


@pytest.mark.parametrize("question", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID"])
def test_one_lost_gpu_hides_no_other_and_is_flagged(driver: mock.Mock, question: str) -> None:
    def lost(place: int) -> object:
        if place == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return UUIDS[place] if question.endswith("UUID") else place

    getattr(driver, question).side_effect = lost
    reader = NvmlReader()
    assert reader.devices() == (UUIDS[0], UUIDS[2])
    assert reader.num_lost == 1
    assert reader.resolve_visible(["2"]) == (UUIDS[2],)
    with pytest.raises(ValueError, match="device 1, which does not answer"):
        reader.resolve_visible(["1"])
    meter = Meter(reader, clock(0.0, 2.0))
    meter.begin("a", [UUIDS[0], UUIDS[1]])
    got = meter.end("a")
    assert got.energy_j is None
    assert "device_unreadable" in got.flags
    assert got.mean_utilisation == 0.73


def test_a_mig_slice_is_flagged_not_left_to_the_clock(driver: mock.Mock) -> None:
    meter = Meter(NvmlReader(), clock(0.0, 2.0))
    meter.begin("a", ["MIG-1234"])
    assert "device_unreadable" in meter.end("a").flags


def test_nvml_under_a_meter(driver: mock.Mock) -> None:
    driver.nvmlDeviceGetTotalEnergyConsumption.side_effect = [1_000, 4_500]
    meter = Meter(open_reader(), clock(0.0, 2.0))
    meter.begin("a", [UUIDS[0]])
    assert meter.end("a") == Measurement(2.0, 3.5, 0.73, 2500.0, "nvml")


@pytest.mark.parametrize(
    ("tokens", "resolved"),
    [
        ([0, "2"], (UUIDS[0], UUIDS[2])),
        ([UUIDS[1]], (UUIDS[1],)),
        (["GPU-b", " GPU-aaaa2 "], (UUIDS[2], UUIDS[1])),
        (["MIG-5f"], ("MIG-5f",)),
        ([], ()),
    ],
)
def test_visible_devices(driver: mock.Mock, tokens: list[str | int], resolved: tuple[str, ...]) -> None:
    assert NvmlReader().resolve_visible(tokens) == resolved


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("3", "names device 3, this machine has 3"),
        ("GPU-aaaa", "'GPU-aaaa' fits 2 devices"),
        ("GPU-z", "'GPU-z' fits 0 devices"),
        ("", "'' fits 0 devices"),
        ("-1", "'-1' fits 0 devices"),
    ],
)
def test_visible_devices_that_are_not_there(driver: mock.Mock, token: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NvmlReader().resolve_visible([token])


@pytest.mark.parametrize("tokens", [["0", "0"], [1, UUIDS[1]], ["GPU-b", "2"], ["MIG-5f", "MIG-5f"]])
def test_a_device_that_is_named_twice_is_refused(driver: mock.Mock, tokens: list[str | int]) -> None:
    with pytest.raises(ValueError, match="twice; name each device once"):
        NvmlReader().resolve_visible(tokens)


def test_no_driver_no_nvml(driver: mock.Mock) -> None:
    driver.nvmlInit.side_effect = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert isinstance(open_reader(), NullReader)
    with pytest.raises(OSError, match="NVML does not answer"):
        NvmlReader()


def test_no_bindings_no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml.importlib, "import_module", mock.Mock(side_effect=ImportError("No module named 'pynvml'")))
    assert isinstance(open_reader(), NullReader)
    with pytest.raises(OSError, match="No module named 'pynvml'"):
        NvmlReader()
