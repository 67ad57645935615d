"""A compiled training is the eager one within rounding: masks, EMA, mixup, teacher, passes, small maps, resuming, workers.

Most use ``aot_eager``, which traces forward and backward passes as a real compilation does and then runs torch's own
kernels; those with torch's compiler take half a minute, and are slow.
"""

import shutil
import tempfile
from dataclasses import dataclass

import pytest
import torch
from crews import in_crew
from some_jobs import job
from torch import nn
from torch._dynamo import config as dynamo
from torch._dynamo.utils import counters

from accounting.ledger.records import Kind, Phase
from accounting.ledger.store import read_ledger
from accounting.study.folder import StudyFolder
from harness.config.recipe import Recipe
from harness.config.study import DatasetConfig
from harness.data.base import DataInfo, Splits, TensorSplit
from harness.devices import Held
from harness.jobs.start import FRESH
from harness.jobs.teacher import Teacher
from harness.jobs.work import Train
from harness.training import compiled
from harness.training.compiled import CannotCompile
from harness.training.course import Course
from harness.training.distillation import AtOwnSize
from harness.training.loop import Hooks, train
from harness.training.resume import StateFiles
from harness.training.workers import ALONE
from harness.work.attempt import execute
from harness.work.workplace import Workplace
from nas_baseline.spaces.families import network_spec
from pruning.masks import masks_from_model

CPU = torch.device("cpu")
INFO = DataInfo((1, 6, 6), 3, (0.4,), (0.3,), 48)

TOLERANCE = 2e-4
"""The largest difference of a weight between a compiled and an eager training, relative to the largest of its tensor.

A compiled pass sums float32 in another order (1e-7 relative) and may keep a product unrounded before a sum; a dozen
updates at a rate of 0.1 through batch norm multiply that by well under 1000. A wrong gradient, mask or statistic changes
weights by above 1e-2. It is the tolerance of one worker against two (``test_workers.py``), for the same reason.
"""


def tensors(count, seed, shape=(1, 6, 6)):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 80, (count, *shape), generator=generator, dtype=torch.uint8)
    images += (labels * 60).to(torch.uint8)[:, None, None, None]
    return TensorSplit(images, labels, INFO)


SPLITS = Splits(INFO, tensors(48, 1), tensors(30, 2), tensors(30, 3))
SGD = Recipe(epochs=2, batch_size=16, lr=0.1)


def network(dropout=0.0, norm=True):
    """The second convolution is depthwise, over maps of 3 x 3 pixels with a kernel of 5: its gradients are our own."""
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1, bias=not norm), nn.BatchNorm2d(6) if norm else nn.Identity(), nn.ReLU(),
        nn.Conv2d(6, 6, 5, padding=2, groups=6), nn.ReLU(), nn.Dropout(dropout), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 3),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _traced(monkeypatch, request):
    if "slow" not in [mark.name for mark in request.node.iter_markers()]:
        monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    counters.clear()


def graphs():
    """How many graphs were compiled so far."""
    return counters["stats"]["unique_graphs"]


class Killed(Exception):
    pass


def fit(
    folder, recipe, *, dropout=0.0, norm=True, sparse=False, teacher=None, crew=ALONE, splits=SPLITS, killed_after=None
):
    """(weights, val_top1 by epoch, graphs when the work began and when it ended)."""
    model = network(dropout, norm)
    if sparse:
        with torch.no_grad():
            model[0].weight[:3] = 0
    seen = []

    def begun(epochs):
        seen.append(graphs())

    def note(epoch):
        if epoch.epoch == killed_after:
            raise Killed

    course = Course(teacher=None if teacher is None else teacher())
    try:
        trained = train(
            model, splits, recipe, seed=5, device=CPU, masks=masks_from_model(model) if sparse else {},
            files=StateFiles(folder / "resume.pt"), hooks=Hooks(begun, note), course=course, crew=crew,
        )  # fmt: skip
    except Killed:
        return None
    return {k: v.clone() for k, v in trained.model.state_dict().items()}, trained.val_curve, (*seen, graphs())


def on(recipe):
    return recipe.model_copy(update={"compile": True})


def difference(a, b):
    """The largest difference between two state dicts with the same keys, relative to the tensor's largest value."""
    assert a.keys() == b.keys()
    return max(
        float((a[k] - b[k]).abs().max()) / max(1e-6, float(a[k].abs().max())) for k in a if a[k].is_floating_point()
    )


def taught():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    return AtOwnSize(network, Teacher("teacher", {}, FRESH, 1, (1, 6, 6), (0.5,), (0.5,)))


CASES = {
    "plain": (SGD, {}),
    "no batch norm": (SGD, {"norm": False}),
    "exponential moving average": (SGD.model_copy(update={"ema_decay": 0.9}), {}),
    "mixup": (SGD.model_copy(update={"mixup_alpha": 0.3}), {}),
    "erasing": (SGD.model_copy(update={"erase_prob": 0.5, "augment": "none"}), {}),
    "adamw": (Recipe(epochs=2, batch_size=16, lr=0.01, optimizer="adamw", weight_decay=0.05), {}),
    "masks": (SGD, {"sparse": True}),
    "passes of two sizes": (SGD.model_copy(update={"accumulate": 3}), {}),
    "a batch of all images": (SGD.model_copy(update={"batch_size": 100}), {}),
}


@pytest.mark.parametrize(("recipe", "options"), CASES.values(), ids=CASES)
def test_a_compiled_training_is_the_eager_one(recipe, options, tmp_path):
    weights, curve, graphs_of_eager = fit(tmp_path / "a", recipe, **options)
    same, same_curve, (begun, ended) = fit(tmp_path / "b", on(recipe), **options)
    assert graphs_of_eager == (0, 0)
    assert difference(weights, same) < TOLERANCE
    assert same_curve == pytest.approx(curve, abs=1.01 / 30)  # at most one borderline image
    assert begun == ended == (2 if recipe.accumulate == 3 else 1)  # compiled before the work begins, and never after
    if options.get("sparse"):
        assert not same["0.weight"][:3].any()


def test_a_teacher_is_run_as_it_is_and_taught_alike(tmp_path):
    recipe = Recipe.model_validate({**SGD.model_dump(), "distill": {"teacher": "parent", "weight": 0.5}})
    weights, *_ = fit(tmp_path / "a", recipe, teacher=taught)
    same, _, numbers = fit(tmp_path / "b", on(recipe), teacher=taught)
    assert difference(weights, same) < TOLERANCE
    assert numbers == (1, 1)
    assert difference(weights, fit(tmp_path / "c", SGD)[0]) > TOLERANCE  # the teacher does teach


def test_a_training_taken_up_again_gives_the_same_bits(tmp_path):
    recipe = on(Recipe(epochs=3, batch_size=16, lr=0.1, ema_decay=0.9, mixup_alpha=0.2))
    weights, curve, _ = fit(tmp_path / "whole", recipe, dropout=0.2)
    assert fit(tmp_path / "cut", recipe, dropout=0.2, killed_after=2) is None
    torch.manual_seed(123)
    again, curve_again, _ = fit(tmp_path / "cut", recipe, dropout=0.2)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert curve == curve_again


def test_an_eager_training_continues_from_the_state_of_a_compiled_one(tmp_path):
    """State dicts have the network's own keys."""
    recipe = Recipe(epochs=3, batch_size=16, lr=0.1, ema_decay=0.9)
    whole, *_ = fit(tmp_path / "whole", recipe)
    assert fit(tmp_path / "cut", on(recipe), killed_after=1) is None
    assert difference(whole, fit(tmp_path / "cut", recipe)[0]) < TOLERANCE


@pytest.mark.parametrize("sync", [True, False])
def test_two_workers_compile_what_one_does(sync, tmp_path):
    recipe = SGD.model_copy(update={"sync_batch_norm": sync, "mixup_alpha": 0.3})
    eager = in_crew(2, tmp_path / "a", lambda crew: fit(tmp_path / f"a{crew.rank}", recipe, crew=crew))
    traced = in_crew(2, tmp_path / "b", lambda crew: fit(tmp_path / f"b{crew.rank}", on(recipe), crew=crew))
    for (weights, curve, _), (same, same_curve, (begun, ended)) in zip(eager, traced, strict=True):
        assert difference(weights, same) < TOLERANCE
        assert same_curve == pytest.approx(curve, abs=1.01 / 30)
        assert begun == ended == 1
    assert all(torch.equal(traced[0][0][name], value) for name, value in traced[1][0].items())


def test_each_of_many_trainings_in_one_process_is_compiled(tmp_path):
    """torch gives up on a function after some compilations (usually 8), and a process may train any number of networks."""
    recipe = on(SGD.model_copy(update={"epochs": 1}))
    with dynamo.patch(recompile_limit=2):
        for number in range(4):
            assert fit(tmp_path / str(number), recipe)[2] == (number + 1, number + 1)


def test_a_network_of_which_torch_would_give_up_is_refused(tmp_path):
    with dynamo.patch(recompile_limit=1), pytest.raises(CannotCompile, match="limit"):
        fit(tmp_path, on(SGD.model_copy(update={"accumulate": 3})))


def test_what_is_tried_out_before_the_work_leaves_no_trace(tmp_path):
    before = {name: value.clone() for name, value in network().state_dict().items()}
    model = network()
    seen = []
    train(
        model, SPLITS, on(SGD), seed=5, device=CPU, masks={}, files=StateFiles(tmp_path / "resume.pt"),
        hooks=Hooks(lambda epochs: seen.append({k: v.clone() for k, v in model.state_dict().items()}), lambda e: None),
    )  # fmt: skip
    assert all(torch.equal(before[name], value) for name, value in seen[0].items())
    assert all(parameter.grad is None or parameter.grad.any() for parameter in model.parameters())
    assert "forward" not in vars(model)


@dataclass(frozen=True)
class Unread:
    """A split of which every batch lacks another number of images, which could not be read."""

    split: TensorSplit

    def __len__(self):
        return len(self.split)

    def batches(self, batch_size, device, *, augment):
        for number, (images, labels) in enumerate(self.split.batches(batch_size, device, augment=augment)):
            yield images[number:], labels[number:]


def test_batches_of_other_sizes_are_computed_without(tmp_path):
    splits = Splits(INFO, Unread(SPLITS.train), SPLITS.val, SPLITS.test)
    weights, *_ = fit(tmp_path / "a", SGD, splits=splits)
    same, _, numbers = fit(tmp_path / "b", on(SGD), splits=splits)
    assert difference(weights, same) < TOLERANCE
    assert numbers == (1, 1)


def test_a_training_without_epochs_compiles_nothing(tmp_path):
    assert fit(tmp_path, on(Recipe(epochs=0)))[2] == (0, 0)


def test_what_was_compiled_is_forgotten_however_the_training_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    fit(tmp_path / "a", on(SGD))
    assert fit(tmp_path / "b", on(SGD), killed_after=1) is None
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_cannot_be_compiled_is_one_line(tmp_path, monkeypatch):
    def fails(graph, inputs):
        raise ValueError("no such kernel\nand more")

    monkeypatch.setattr(compiled, "BACKEND", fails)
    with pytest.raises(CannotCompile, match=r"torch.compile fails \(.*no such kernel.*set compile to false$") as error:
        fit(tmp_path, on(SGD))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, MemoryError, OSError])
def test_a_lack_of_memory_or_disk_is_not_a_network_that_cannot_be_compiled(kind, tmp_path, monkeypatch):
    def fails(graph, inputs):
        raise kind("none left")

    monkeypatch.setattr(compiled, "BACKEND", fails)
    with pytest.raises(kind, match="none left"):
        fit(tmp_path, on(SGD))


def test_an_attempt_that_cannot_compile_has_an_outcome_which_the_next_run_tries_again(tmp_path, monkeypatch):
    def fails(graph, inputs):
        raise ValueError("no such kernel")

    monkeypatch.setattr(compiled, "BACKEND", fails)
    data = DatasetConfig(name="fashion_mnist_mini", num_train=100)
    place = Workplace(StudyFolder(tmp_path), "s1", data, Held("cpu", {"n/cpu": 1.0}, 1, "group"))
    spec = network_spec("fbnetv3_mini", "s", 1, 10)
    work = Train(Recipe(epochs=1, batch_size=50, compile=True))
    outcome = execute(job(step="p", phase=Phase.PRETRAIN, seed=11, network=spec, work=work), place)
    assert (outcome.ok, outcome.final) == (False, False)
    assert outcome.reason.startswith("torch.compile fails (")
    kinds = [record["kind"] for record in read_ledger(place.paths.ledger).records]
    assert Kind.WORK_BEGUN not in kinds  # all of it is lost


needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler on this machine"
)


@pytest.mark.slow
@needs_compiler
@pytest.mark.timeout(600)
def test_torchs_compiler_gives_the_eager_training(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))  # others may be compiling, too
    recipe = SGD.model_copy(update={"mixup_alpha": 0.3, "ema_decay": 0.9})
    weights, curve, _ = fit(tmp_path / "a", recipe, sparse=True)
    same, same_curve, numbers = fit(tmp_path / "b", on(recipe), sparse=True)
    assert difference(weights, same) < TOLERANCE
    assert same_curve == pytest.approx(curve, abs=1.01 / 30)
    assert numbers == (1, 1)
    assert not same["0.weight"][:3].any()
    assert not list((tmp_path / "temporary").glob("prune-or-search-compiled-*"))


@pytest.mark.slow
@needs_compiler
@pytest.mark.timeout(600)
def test_torchs_compiler_synchronises_batch_norm_of_two_workers(tmp_path):
    eager = in_crew(2, tmp_path / "a", lambda crew: fit(tmp_path / f"a{crew.rank}", SGD, crew=crew))
    built = in_crew(2, tmp_path / "b", lambda crew: fit(tmp_path / f"b{crew.rank}", on(SGD), crew=crew), within_s=500)
    for (weights, _, _), (same, _, numbers) in zip(eager, built, strict=True):
        assert difference(weights, same) < TOLERANCE
        assert numbers == (1, 1)
    assert all(torch.equal(built[0][0][name], value) for name, value in built[1][0].items())
