"""Do zero-cost features help the predictor? Synflow and Jacobian covariance of NAS-Bench-Macro's networks, and ranks.

Synflow (Tanaka et al. 2020, arXiv 2006.05467) is the sum of |weight × gradient| of the summed output for an image of
ones, with absolute weights and without batch norm. Jacobian covariance (Mellor et al. 2020, arXiv 2006.04647v1) says
how much the gradients of the summed outputs differ between the images of a batch. Both are computed on untrained
networks, as in Abdelfattah et al. 2021 (arXiv 2101.08134). Networks are built as in the table's paper; the MACs of some
are compared.

``features`` computes both for a sample and adds rows to ``results/zero_cost_features.csv``. ``tau`` fits the Gaussian
process of a study to n networks of the sample, using MACs and weights with and without these features, and ranks the
rest by it. It reports Kendall's tau with the mean accuracy, over draws of the n networks and of their noisy values.

    python benchmarks/zero_cost.py features --table T.json --images cifar10_jpeg.npz --count 300
    python benchmarks/zero_cost.py tau --table T.json
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from nas_bench_macro import CLASSES, EXPANSION, HEAD, KERNEL, STAGES, STEM, Table
from PIL import Image
from scipy.stats import kendalltau, t
from table import append, machine
from torch import Tensor, nn

from accounting.macs.count import count_macs
from nas_baseline.predictor.base import Encoder, Inputs
from nas_baseline.predictor.gaussian_process import GaussianProcess
from nas_baseline.spaces.base import Arch, Floats

RESULTS = Path(__file__).parent / "results"
FEATURES, TAU = RESULTS / "zero_cost_features.csv", RESULTS / "zero_cost_tau.csv"
BATCH, MEAN, STD = 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
NUM_SEEN, NUM_DRAWS = (20, 50, 100), 20
KEPT_FROM_LOG = 1e-5
NUM_COUNTED = 20
"""Networks whose MACs are counted and compared with the published ones."""


class Block(nn.Module):
    """Identity (a strided 1x1 convolution where the size changes), or an inverted bottleneck."""

    def __init__(self, width: int, out: int, stride: int, choice: int) -> None:
        super().__init__()
        if choice == 0:
            self.body: nn.Module = _conv(width, out, 1, stride) if stride == 2 else nn.Identity()
            self.skips = False
            return
        inner = EXPANSION[choice] * width
        self.body = nn.Sequential(
            _conv(width, inner, 1), nn.ReLU(), _conv(inner, inner, KERNEL[choice], stride, inner), nn.ReLU(),
            _conv(inner, out, 1),
        )  # fmt: skip
        self.skips = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps of the block for a batch of feature maps."""
        return x + self.body(x) if self.skips else self.body(x)


def _conv(width: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(width, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return nn.Sequential(conv, nn.BatchNorm2d(out))


def build(arch: Arch, seed: int = 0) -> nn.Module:
    """Build a network of the table, untrained."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = [_conv(3, STEM, 3), nn.ReLU()]
    width, place = STEM, 0
    for depth in STAGES:
        for i in range(depth):
            out = 2 * width if i == 0 else width
            layers.append(Block(width, out, 2 if i == 0 else 1, arch[place]))
            width, place = out, place + 1
    return nn.Sequential(
        *layers, _conv(width, HEAD, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(HEAD, CLASSES)
    )


def synflow(model: nn.Module) -> float:
    """Natural logarithm of the network's synaptic flow."""
    model = copy.deepcopy(model).double()
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    model(torch.ones(1, 3, 32, 32, dtype=torch.float64)).sum().backward()
    weights = [m.weight for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return float(np.log(sum(float((weight.detach() * weight.grad).abs().sum()) for weight in weights)))


def jacob_cov(model: nn.Module, images: Tensor) -> float:
    """How differently the network sees the images: the less their gradients correlate, the higher the value."""
    images = images.clone().requires_grad_()
    copy.deepcopy(model).train()(images).sum().backward()
    assert images.grad is not None
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(images.grad.flatten(1).double().numpy()))
    return -float(np.sum(np.log(eigenvalues + KEPT_FROM_LOG) + 1.0 / (eigenvalues + KEPT_FROM_LOG)))


def pictures(path: Path) -> Tensor:
    """The first training images of CIFAR-10, normalised."""
    with np.load(path) as data:
        content, offsets = data["train_bytes"], data["train_offsets"]
    decoded = [
        np.asarray(Image.open(io.BytesIO(content[offsets[i] : offsets[i + 1]].tobytes())).convert("RGB"))
        for i in range(BATCH)
    ]
    images = torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def sample(table: Table, count: int) -> list[Arch]:
    """Distinct networks, the same on each call; a longer sample begins with the shorter one."""
    distinct = sorted({table.space.canonical(a) for a in table.mean})
    return [distinct[i] for i in np.random.default_rng(0).permutation(len(distinct))[:count]]


def features(table: Table, images: Tensor, count: int) -> None:
    """Compute the features of the sampled networks that have no row yet."""
    known = {row["network"] for row in _rows(FEATURES)}
    with FEATURES.open("a", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        if not known:
            out.writerow(["network", "macs", "synflow_log", "jacob_cov", "test_top1_mean"])
        for number, arch in enumerate(sample(table, count)):
            name = "".join(map(str, arch))
            if name in known:
                continue
            model, macs = build(arch), table.space.macs(arch)
            if number < NUM_COUNTED and (found := count_macs(model, (3, 32, 32)).macs) != macs:
                raise ValueError(f"{name} is built with {found:,} MACs and published with {macs:,}")
            out.writerow([name, macs, f"{synflow(model):.6g}", f"{jacob_cov(model, images):.6g}", table.mean[arch]])
            file.flush()


def tau(table: Table) -> None:
    """Rank correlations with and without the features, and their paired differences, with 95 % intervals over draws."""
    rows = _rows(FEATURES)
    archs: list[Arch] = [tuple(map(int, row["network"])) for row in rows]
    truth = np.array([table.mean[arch] for arch in archs])
    extra = np.array([[float(row["synflow_log"]), -np.log(-float(row["jacob_cov"]))] for row in rows])
    extra = (extra - extra.mean(0)) / extra.std(0)
    plain = Encoder(table.space, archs)(archs)
    sets = {
        "neither": plain,
        "synflow": _with(plain, extra[:, :1]),
        "jacob_cov": _with(plain, extra[:, 1:]),
        "both": _with(plain, extra),
        "both, in the RBF kernel too": replace(
            _with(plain, extra), architecture=np.hstack([plain.architecture, extra])
        ),
    }
    alone = {"macs": plain.statistics[:, 0], "synflow": extra[:, 0], "jacob_cov": extra[:, 1]}
    facts = {**machine("cpu", ["numpy", "scipy", "torch"]), "networks": len(archs)}
    out = [facts | _row("alone", name, None, 500, _resampled(x, truth), None) for name, x in alone.items()]
    for n in NUM_SEEN:
        found: dict[str, list[float]] = {name: [] for name in sets}
        for draw in range(NUM_DRAWS):
            rng = np.random.default_rng([draw, 6])
            order = rng.permutation(len(archs))
            seen, rest = order[:n], order[n:]
            values = np.array([table.seeds[archs[i]][rng.integers(3)] for i in seen])
            for name, inputs in sets.items():
                model = GaussianProcess()
                model.fit(_at(inputs, seen), values)
                found[name].append(float(kendalltau(model.predict(_at(inputs, rest))[0], truth[rest]).statistic))
        for name, each in found.items():
            gain = None if name == "neither" else np.array(each) - np.array(found["neither"])
            out.append(facts | _row("gp", name, n, NUM_DRAWS, np.array(each), gain))
            print(name, n, *list(out[-1].values())[-6:], flush=True)
    append(TAU, out)


def _with(inputs: Inputs, columns: Floats) -> Inputs:
    return replace(inputs, statistics=np.hstack([inputs.statistics, columns]))


def _at(inputs: Inputs, rows: np.ndarray) -> Inputs:
    return Inputs(inputs.architecture[rows], inputs.recipe[rows], inputs.statistics[rows])


def _resampled(x: Floats, truth: Floats) -> Floats:
    """Tau of the whole sample, followed by those of bootstrap resamples of the networks."""
    rng = np.random.default_rng(0)
    picks = [np.arange(len(x)), *(rng.integers(len(x), size=len(x)) for _ in range(500))]
    return np.array([kendalltau(x[p], truth[p]).statistic for p in picks])


def _row(by: str, name: str, seen: int | None, count: int, taus: Floats, gain: Floats | None) -> dict[str, object]:
    """Tau and its gain over no features, with 95 % intervals: Student's t over draws, or quantiles of the resamples."""
    row: dict[str, object] = {"ranked_by": by, "features": name, "num_seen": seen, "n": count}
    for key, values in (("tau", taus), ("gain", gain)):
        numbers = ("", "", "") if values is None else [f"{number:.4f}" for number in _interval(values, by == "gp")]
        row |= dict(zip((key, f"{key}_low", f"{key}_high"), numbers, strict=True))
    return row


def _interval(values: Floats, are_draws: bool) -> tuple[float, float, float]:
    if not are_draws:
        low, high = np.quantile(values[1:], [0.025, 0.975])
        return float(values[0]), float(low), float(high)
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Run ``features`` or ``tau``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=["features", "tau"])
    parser.add_argument("--table", type=Path, required=True, help="nas-bench-macro_cifar10.json")
    parser.add_argument("--images", type=Path, help="cifar10_jpeg.npz, for features")
    parser.add_argument("--count", type=int, default=300, help="networks of the sample")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "tau":
        tau(Table(args.table))
    else:
        features(Table(args.table), pictures(args.images), args.count)


if __name__ == "__main__":
    main()
