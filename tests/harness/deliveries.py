"""Helpers for tests of deliveries: networks, the job that delivers one, and a way to run the code of its card alone."""

import subprocess
import sys

import torch
from some_jobs import job as some_job

from accounting.ledger.records import Phase
from harness.config.study import NO_EXPORT, DatasetConfig
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.delivery import deliver as delivering
from harness.delivery import exports as exporting
from harness.jobs.job import Done, Job, Outcome
from harness.jobs.start import WeightsOf
from harness.jobs.work import Deliver
from harness.models.build import build_network, save_tensors
from harness.routes.exports import KINDS, WithExports
from nas_baseline.spaces.families import network_spec
from pruning.masks import apply_masks
from pruning.solve import prune_to_macs
from reports.data.networks import merged_exports

CPU = torch.device("cpu")
SHAPE = (1, 28, 28)
SPEC = network_spec("fbnetv3_mini", "l", 1, 10)
SMALL = network_spec("fbnetv3_mini", "s", 1, 10)
DATASET = DatasetConfig(name="fashion_mnist_mini")
PLAIN = {"model.safetensors", "model.py", "architecture.json", "metrics.json", "README.md"}


def split(count, info, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    return TensorSplit(images, torch.randint(0, 10, (count,), generator=generator), info)


def noise():
    """Splits of random noise: these tests are about what is delivered, not about its accuracy."""
    info = DataInfo(SHAPE, 10, (0.5,), (0.25,), 130)
    return Splits(info, split(130, info, 1), split(40, info, 2), split(60, info, 3))


def network(spec=SPEC):
    """A network whose batch norms have seen some data."""
    torch.manual_seed(0)
    model = build_network(spec).train()
    with torch.no_grad():
        model(torch.randn(64, *SHAPE))
    return model.eval()


def masked(target=600_000):
    model = network()
    apply_masks(model, prune_to_macs(model, SHAPE, target, floor=0.01).masks)
    return model


def job(model, paths, spec=SPEC, target=2_000_000, **changes):
    """The job that delivers ``model`` as the weights of job ``trained``."""
    save_tensors(model.state_dict(), paths.weights("trained"))
    work = Deliver("prune", "a network of a test", "fbnetv3_mini l, from nowhere")
    plain = {"seed": 1, "network": spec, "work": work, "counted_macs": 1, "start": WeightsOf("trained")}
    return some_job("e", "prune", Phase.EVALUATE, target, **plain | changes)


def deliver(job, *place):
    """Carry out a delivery job."""
    return delivering.deliver(job, job.work, *place)


def export(job, *place):
    """Carry out an export job."""
    return exporting.export(job, job.work, *place)


class Given:
    """A route that proposes nothing, and a study of which only the exports matter."""

    name, replicate = "prune", 0

    def __init__(self, exports):
        self.config = self
        self.export = exports

    def ask(self):
        return Done()

    def tell(self, job, outcome):
        pass

    def seed(self, name):
        return 1


def exports_after(job, metrics, exports):
    """The export jobs that follow a delivery with these metrics."""
    given = Given(exports)
    route = WithExports(given, given)
    route.tell(job, Outcome(ok=True, metrics=metrics))
    found = []
    while isinstance(following := route.ask(), Job):
        found.append(following)
    return found


def delivered(job, paths, splits, dataset, device, exports=NO_EXPORT, cost=None):
    """Deliver a network and run the export jobs that follow; returns all metrics, as a report shows them."""
    metrics = deliver(job, paths, splits, dataset, device, cost)
    assert {kind for kind in KINDS if kind in metrics} <= {"latency"}
    after = [export(each, paths, splits, dataset, device, cost) for each in exports_after(job, metrics, exports)]
    return merged_exports(metrics, after)


def names(folder):
    return {path.name for path in folder.iterdir()}


def card_code(folder, heading=None):
    """The first Python block of the card, or the first below a heading."""
    text = (folder / "README.md").read_text()
    text = text.split(f"\n## `{heading}`\n")[1] if heading else text
    return text.split("```python\n")[1].split("```")[0]


def alone(code, folder, forbidden=("harness", "pruning", "nas_baseline", "accounting")):
    """Run code in a fresh process in ``folder`` and return its output; fails if it imports what it should not need."""
    check = f"\nimport sys\nassert not [m for m in sys.modules if m.split('.')[0] in {forbidden!r}]\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + check], cwd=folder, capture_output=True, text=True, timeout=120,
        env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
