import shutil
import sys

import pytest
import timm
import torch
from torch import nn

from harness.errors import InputError
from harness.latency.errors import NotAvailable, WrongOutput
from harness.latency.formats import FORMATS, keep_strongest_blocks, prepare, quantised_engine, zero_blocks
from harness.latency.networks import RUNTIMES, time_network
from harness.latency.products import find_products, time_products, total_ms
from harness.latency.timer import Timing, WallClock, device_name, pinned_threads, time_calls
from pruning.masks import apply_masks
from pruning.solve import prune_to_macs

SIZE = (3, 16, 16)
CPU_FORMATS = [name for name in FORMATS if "fp16" not in name]


class FakeClock:
    """Reads 0, and then advances by the next of the given durations with each pair of readings."""

    def __init__(self, durations_s):
        self._durations_s, self._now_s, self._is_begin = iter(durations_s), 0.0, False

    def __call__(self):
        self._is_begin = not self._is_begin
        if not self._is_begin:
            self._now_s += next(self._durations_s)
        return self._now_s


class Constant:
    """A stopwatch that returns the given times in turn, whatever a call does."""

    def __init__(self, *times_ms):
        self._times_ms = times_ms
        self._count = 0

    def measure_ms(self, call):
        call()
        self._count += 1
        return self._times_ms[(self._count - 1) % len(self._times_ms)]


def network():
    """Two equal 1x1 convolutions, a strided one, a 3x3, a depthwise, and two linear layers, one called twice."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 12, 3, padding=1)
            self.first = nn.Conv2d(12, 12, 1, bias=False)
            self.dw = nn.Conv2d(12, 12, 3, padding=1, groups=12)
            self.second = nn.Conv2d(12, 12, 1, bias=False)
            self.strided = nn.Conv2d(12, 18, 1, stride=2)
            self.twice = nn.Linear(18, 18)
            self.head = nn.Linear(18, 5)

        def forward(self, x):
            x = self.second(self.dw(self.first(self.stem(x)).relu()))
            x = self.strided(x).mean((2, 3))
            return self.head(self.twice(self.twice(x).relu()))

    torch.manual_seed(0)
    return Net().eval()


def test_median_and_percentiles_by_hand():
    # 1..5 ms: rank 0.1 * 4 = 0.4 is at 1.4 ms, and 0.9 * 4 = 3.6 at 4.6 ms.
    clock = FakeClock([0.005, 0.001, 0.003, 0.004, 0.002])
    calls = []
    timing = time_calls(
        lambda: calls.append(torch.get_num_threads()), batch_size=4, threads=1, runtime="test", warmup=2,
        repetitions=5, stopwatch=WallClock(clock),
    )  # fmt: skip
    assert (timing.median_ms, timing.p10_ms, timing.p90_ms) == pytest.approx((3.0, 1.4, 4.6))
    assert (timing.n, timing.batch_size, timing.threads, timing.runtime) == (5, 4, 1, "test")
    assert timing.device == device_name("cpu") != ""
    assert calls == [1] * 7  # the warm-up is run but not timed


def test_an_even_number_of_repetitions_takes_the_middle():
    clock = FakeClock([0.001, 0.010, 0.002, 0.004])
    assert time_calls(lambda: None, warmup=0, repetitions=4, stopwatch=WallClock(clock)).median_ms == pytest.approx(3.0)


def test_threads_are_pinned_for_a_while():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), pinned_threads(2):
        assert torch.get_num_threads() == 2
        raise RuntimeError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"repetitions": 0}, {"threads": 0}])
def test_timer_refuses(wrong):
    with pytest.raises(ValueError, match="allowed"):
        time_calls(lambda: None, **wrong)


def test_products_of_a_network():
    products = {product.layers: product for product in find_products(network(), SIZE)}
    shapes = {layers: (*product.weight.shape, product.positions) for layers, product in products.items()}
    assert shapes == {
        ("first", "second"): (12, 12, 256),
        ("strided",): (18, 12, 64),
        ("twice",): (18, 18, 2),
        ("head",): (5, 18, 1),
    }


def test_products_with_different_zeros_are_different():
    model = network()
    model.second.weight.data[:6] = 0
    products = {product.layers: product.weight for product in find_products(model, SIZE)}
    assert ("first",) in products and ("second",) in products
    assert torch.equal(products["second",], model.second.weight.detach().flatten(1))


def test_products_of_a_pruned_network_are_right():
    model = network()
    apply_masks(model, prune_to_macs(model, SIZE, 60_000).masks)
    products = find_products(model, SIZE)
    rows = time_products(products, batch_size=2, warmup=0, repetitions=1)
    assert len(rows) == len(products) * len(FORMATS)
    for row in rows:
        if row.format not in CPU_FORMATS:
            assert row.timing is None and row.speedup is None and "CUDA" in row.reason
            continue
        assert row.is_right and not row.reason, row
        quantisation = 0.05 if row.format.startswith("int8") else 1e-4
        assert row.max_abs_error <= quantisation * row.max_abs_output
        assert row.timing.runtime == row.format and row.timing.batch_size == 2 and row.timing.n == 1
    by_name = {row.layers: row for row in rows if row.format == "dense_fp32"}
    assert by_name["strided",].positions == 128
    assert by_name["strided",].sparsity == pytest.approx(float((model.strided.weight == 0).float().mean()))


def test_speedups_and_totals_by_hand():
    # 4 products, dense 4 ms and CSR 2 ms each; one of them occurs twice: 5 * 4 and 5 * 2.
    rows = time_products(
        find_products(network(), SIZE), formats=["csr_fp32"], warmup=0, repetitions=1, stopwatch=Constant(4.0, 2.0)
    )
    assert [row.format for row in rows] == ["dense_fp32", "csr_fp32"] * 4
    assert [row.speedup for row in rows] == [1.0, 2.0] * 4
    assert total_ms(rows, "dense_fp32").median_ms == 20.0
    assert total_ms(rows, "csr_fp32").p90_ms == 10.0
    assert total_ms(rows, "int8_dense") is None


def test_a_wrong_kernel_is_told(monkeypatch):
    def broken(weight, columns):
        right = FORMATS["dense_fp32"](weight, columns)
        return type(right)(lambda: 2 * right.call(), right.read, right.weight, right.expected, right.allowed_error)

    monkeypatch.setitem(FORMATS, "csr_fp32", broken)
    rows = time_products(find_products(network(), SIZE), formats=["csr_fp32"], warmup=0, repetitions=1)
    assert all(row.is_right is (row.format == "dense_fp32") for row in rows)


@pytest.mark.parametrize("name", CPU_FORMATS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 10, 3), (32, 16, 49)])
@pytest.mark.parametrize("share", [0.0, 0.9, 1.0])
def test_formats_on_any_shape_and_sparsity(name, shape, share):
    generator = torch.Generator().manual_seed(1)
    num_outputs, num_inputs, positions = shape
    weight = torch.randn(num_outputs, num_inputs, generator=generator)
    weight[torch.rand(weight.shape, generator=generator) < share] = 0
    columns = torch.randn(num_inputs, positions, generator=generator)
    kernel = prepare(name, weight, columns)
    output = kernel.read(kernel.call())
    assert output.shape == (num_outputs, positions) and output.dtype == torch.float32
    assert (output - kernel.expected).abs().max() <= kernel.allowed_error


def test_blocks_by_hand():
    # Rows of 6 have blocks of 4 and of 2. Six non-zeros would fit in two blocks; the strongest have sums 9 and 5.
    weight = torch.tensor([[1.0, -2, 0, 0, 4, 5], [0, 5, 0, 0, 0, 1.0]])
    assert zero_blocks(weight) == 0.0
    kept = keep_strongest_blocks(weight)
    assert kept.tolist() == [[0, 0, 0, 0, 4, 5], [0, 5, 0, 0, 0, 0]]
    assert zero_blocks(kept) == 0.5
    assert torch.equal(keep_strongest_blocks(torch.ones(3, 8)), torch.ones(3, 8))


def test_the_quantised_engine_is_put_back(monkeypatch):
    before = torch.backends.quantized.engine
    with quantised_engine():
        assert torch.backends.quantized.engine == "fbgemm"
    assert torch.backends.quantized.engine == before
    monkeypatch.setattr("harness.latency.formats.ENGINE", "abacus")
    with pytest.raises(NotAvailable, match="abacus"), quantised_engine():
        pass


def test_unknown_names_list_the_allowed():
    with pytest.raises(ValueError, match="csr_fp32"):
        prepare("csc", torch.ones(1, 1), torch.ones(1, 1))
    with pytest.raises(ValueError, match="csr_fp32"):
        time_products([], formats=["csc"])
    with pytest.raises(ValueError, match="channels_last"):
        time_network(network(), SIZE, runtime="fast")


@pytest.mark.parametrize("runtime", ["eager", "channels_last", "onnxruntime"])
def test_runtimes_agree_with_eager(runtime):
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    model = timm.create_model("mobilenetv3_small_050", num_classes=7).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    timing = time_network(
        model, (3, 32, 32), runtime=runtime, batch_size=2, warmup=1, repetitions=3, stopwatch=Constant(1.0, 3.0, 2.0)
    )
    assert timing == Timing(2.0, pytest.approx(1.2), pytest.approx(2.8), 3, 2, 1, device_name("cpu"), runtime)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is no g++ here")
def test_compiled_agrees_with_eager():
    """The compiled network has only one thing to fuse, since the compiler takes seconds for each kernel."""
    from torch._inductor import config

    fused = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
    with config.patch(cpp_cache_precompile_headers=False, compile_threads=1):
        timing = time_network(fused, SIZE, runtime="compiled", warmup=0, repetitions=2)
    assert timing.runtime == "compiled" and timing.n == 2


def test_what_cannot_be_compiled_is_not_available():
    class Graphless(nn.Module):
        def forward(self, x):
            return x * float(x.sum().item() > 0) if x.sum().item() > 1e9 else torch.tensor(x.tolist())

    with pytest.raises(NotAvailable, match=r"torch\.compile cannot"):
        time_network(Graphless(), SIZE, runtime="compiled")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install .*\[onnx\]"):
        time_network(network(), SIZE, runtime="onnxruntime")


def test_a_wrong_output_has_no_time(monkeypatch):
    monkeypatch.setitem(RUNTIMES, "eager", lambda model, images: lambda: model(images) + 1)
    with pytest.raises(WrongOutput, match="differs from eager"):
        time_network(network(), SIZE)
    monkeypatch.setitem(RUNTIMES, "eager", lambda model, images: lambda: model(images)[:, :2])
    with pytest.raises(WrongOutput, match="shape"):
        time_network(network(), SIZE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_device_is_told():
    with pytest.raises(NotAvailable, match="CUDA"):
        time_network(network(), SIZE, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda():
    rows = time_products(find_products(network(), SIZE), device="cuda", warmup=1, repetitions=2)
    assert all(row.is_right for row in rows if row.timing)
    assert all(row.reason for row in rows if row.format.startswith("int8"))
    for runtime in ("eager", "channels_last"):
        assert time_network(network(), SIZE, device="cuda", runtime=runtime, repetitions=2).median_ms > 0
