"""Learning from a teacher: the images it is shown, the loss, resuming, who may teach, and the effect on a study."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from some_jobs import job
from test_training import CPU, INFO, Seen, network, same, split
from torch import nn
from torch.nn import functional as F

from accounting.words.methods import Method, parse_method
from harness.config.distill import Distill
from harness.config.recipe import Recipe, RecipeOverride, pretraining
from harness.config.study import load_configs, parse_config
from harness.data.base import DataInfo, Splits
from harness.errors import InputError
from harness.jobs.spec import from_json, to_json
from harness.jobs.start import WeightsOf
from harness.jobs.teacher import Teacher
from harness.jobs.work import Train, TrainSupernet
from harness.plan import NOMINAL, play
from harness.task.logits import DistilledLoss
from harness.training.course import Course
from harness.training.distillation import AtOwnSize
from harness.training.loop import train
from harness.training.resume import StateFiles, identity_of
from harness.validation import check_study
from harness.work.price import price_s, teaching_s
from harness.work.supernet import supernet_course
from nas_baseline.spaces import load_space
from nas_baseline.supernet.supernet import Supernet

DISTILL = Distill(weight=0.4, temperature=3.0)
TEACHER = Teacher("parent", {}, WeightsOf("prune-r0-pretrain"), 5000, INFO.image_shape, INFO.mean, INFO.std)


@pytest.fixture
def splits():
    return Splits(INFO, split(60, 1), split(30, 2), split(30, 3))


def taught_by(teacher=TEACHER, seed=11):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(teacher.image_shape[0], 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))
    return AtOwnSize(model.train(), teacher)


class TestWhatTheTeacherIsShown:
    """Logits inside the loss equal those for raw pixels prepared as the teacher's own loader would."""

    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    @pytest.mark.parametrize(
        ("channels", "shape"), [(3, (3, 24, 24)), (1, (3, 12, 12)), (1, (1, 8, 8)), (3, (3, 8, 8))]
    )
    def test_the_same_image_at_its_own_size_and_normalisation(self, channels, shape, interpolation):
        info = DataInfo((channels, 8, 8), 3, (0.4, 0.5, 0.3)[:channels], (0.3, 0.2, 0.25)[:channels], 60)
        mean, std = (0.485, 0.456, 0.406)[: shape[0]], (0.229, 0.224, 0.225)[: shape[0]]
        own = Teacher("t", {}, WeightsOf("x"), 1, shape, mean, std, interpolation)
        teacher = taught_by(own)
        pixels = torch.rand(4, channels, 8, 8)
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (info.mean, info.std))
        with torch.no_grad():
            resized = pixels.expand(-1, shape[0], -1, -1)
            if shape[1:] != (8, 8):
                resized = F.interpolate(resized, shape[1:], mode=interpolation, antialias=True)
            own_mean, own_std = (torch.tensor(v).view(1, -1, 1, 1) for v in (own.mean, own.std))
            wanted = teacher.network((resized - own_mean) / own_std)
        seen = []
        teacher.network.register_forward_hook(lambda module, args, out: seen.append(out))
        loss = DistilledLoss(teacher, DISTILL, nn.CrossEntropyLoss(), info.normalisation, CPU)
        loss.show((pixels - mean) / std)
        loss(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))
        assert len(seen) == 1
        torch.testing.assert_close(seen[0], wanted, rtol=1e-4, atol=1e-4)
        assert not teacher.network.training

    def test_a_network_of_timm_is_shown_what_timm_says_of_it(self):
        """Its own 24 pixels and 0.5 / 0.5, not the data's 8 pixels and normalisation."""
        model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=3).eval()
        cfg = model.pretrained_cfg
        assert cfg["mean"] == (0.5, 0.5, 0.5)
        own = Teacher("timm:x", {}, WeightsOf("x"), 1, (3, 32, 32), cfg["mean"], cfg["std"], cfg["interpolation"])
        info = DataInfo((3, 8, 8), 3, (0.4,) * 3, (0.3,) * 3, 60)
        pixels, seen = torch.rand(2, 3, 8, 8), []
        with torch.no_grad():
            wanted = model((F.interpolate(pixels, (32, 32), mode="bicubic", antialias=True) - 0.5) / 0.5)
        model.register_forward_hook(lambda module, args, out: seen.append(out))
        loss = DistilledLoss(AtOwnSize(model, own), DISTILL, nn.CrossEntropyLoss(), info.normalisation, CPU)
        loss.show((pixels - 0.4) / 0.3)
        loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))
        torch.testing.assert_close(seen[0], wanted, rtol=1e-3, atol=1e-3)


def test_the_loss_by_hand():
    """Outputs 0 and 2 ln 3 at T = 2: the student gives (1/4, 3/4), the teacher (1/2, 1/2)."""

    class Even(nn.Module):
        def forward(self, images):
            return torch.zeros(len(images), 2)

    loss = DistilledLoss(
        AtOwnSize(Even(), TEACHER), Distill(weight=0.25, temperature=2), nn.CrossEntropyLoss(), INFO.normalisation, CPU
    )
    loss.show(torch.zeros(1, 1, 8, 8))
    outputs = torch.tensor([[0.0, 2 * np.log(3.0)]], requires_grad=True)
    got = loss(outputs, torch.tensor([1]))
    divergence = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    of_labels = np.log(1 + 9) - np.log(9)
    assert float(got.detach()) == pytest.approx(0.75 * of_labels + 0.25 * 2**2 * divergence, rel=1e-5)
    got.backward()
    assert outputs.grad is not None


def fit(splits, folder, recipe, *, teacher=None, masks=None, seen=None, model=None, course=None):
    seen = seen or Seen()
    return train(
        model or network(), splits, recipe, seed=5, device=CPU, masks=masks or {},
        files=StateFiles(folder / "resume.pt"), hooks=seen.hooks, course=replace(course or Course(), teacher=teacher),
    ).model  # fmt: skip


RECIPES = {
    "sgd": Recipe(epochs=3, batch_size=20, distill=DISTILL),
    "mixup and ema": Recipe(epochs=3, batch_size=20, ema_decay=0.9, mixup_alpha=0.3, distill=DISTILL),
    "the teacher alone": Recipe(epochs=3, batch_size=20, distill=Distill(weight=1)),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("masked", [False, True])
def test_resuming_gives_the_undisturbed_weights_and_the_teacher_stays_as_it_was(recipe, masked, splits, tmp_path):
    masks = {"0.weight": torch.rand(network()[0].weight.shape) < 0.5} if masked else {}
    teacher = taught_by()
    fit(
        splits, tmp_path / "first", Recipe(epochs=1, batch_size=20, distill=DISTILL), teacher=teacher
    )  # so that the lazy layer exists
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    whole = fit(splits, tmp_path / "a", recipe, masks=masks, teacher=teacher)
    with pytest.raises(InterruptedError):
        fit(splits, tmp_path / "b", recipe, masks=masks, teacher=teacher, seen=Seen(stop_after=1))
    torch.manual_seed(99)
    resumed = fit(splits, tmp_path / "b", recipe, masks=masks, teacher=teacher)
    assert same(whole.state_dict(), resumed.state_dict())
    assert same(before, teacher.state_dict())
    without = fit(splits, tmp_path / "c", recipe.model_copy(update={"distill": "off"}), masks=masks)
    assert not same(whole.state_dict(), without.state_dict())
    for name, mask in masks.items():
        assert not dict(whole.named_parameters())[name][~mask].any()


def test_a_supernet_learns_from_it_by_its_largest_member(splits, tmp_path):
    space = load_space("fbnetv3_mini", 1, 3, 8)
    recipe = Recipe(epochs=1, batch_size=20, lr=0.01, distill=DISTILL)

    def trained(place, teacher):
        torch.manual_seed(3)
        model = Supernet(space)
        return fit(
            splits,
            tmp_path / place,
            recipe,
            teacher=teacher,
            model=model,
            course=supernet_course(model, splits.info.task),
        )

    shown = taught_by()
    calls = []
    shown.register_forward_hook(lambda module, args, out: calls.append(len(out)))
    taught, plain = trained("a", shown), trained("b", None)
    assert calls == [20] * 3  # once per batch, not once per member
    assert not same(taught.state_dict(), plain.state_dict())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_works_in_bf16_and_the_teacher_stays_as_it_was(splits, tmp_path):
    device, teacher = torch.device("cuda"), taught_by()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    recipe = RECIPES["mixup and ema"]
    trained = train(
        network(), splits, recipe, seed=5, device=device, masks={},
        files=StateFiles(tmp_path / "r"), hooks=Seen().hooks, course=Course(teacher=teacher),
    )  # fmt: skip
    assert all(bool(torch.isfinite(p).all()) for p in trained.model.parameters())
    assert same(before, {name: value.cpu() for name, value in teacher.state_dict().items()})


class TestRecipes:
    def test_a_phase_takes_it_over_replaces_it_or_switches_it_off(self):
        base = Recipe(distill=DISTILL)
        assert RecipeOverride(lr=0.2).over(base).teaching == DISTILL
        assert RecipeOverride(distill="off").over(base).teaching is None
        assert RecipeOverride(distill=Distill(weight=1)).over(base).teaching == Distill(weight=1)
        assert RecipeOverride(epochs=0).over(base).teaching is None

    def test_the_parent_has_a_teacher_only_where_one_is_named_for_it(self):
        base = Recipe(distill=DISTILL)
        assert pretraining(base, RecipeOverride(epochs=3)).teaching is None
        assert pretraining(base, RecipeOverride(distill=Distill(teacher="timm:x"))).teaching == Distill(
            teacher="timm:x"
        )

    def test_a_recipe_without_it_is_written_as_before(self):
        assert "distill" not in Recipe().as_spec()
        assert Recipe.model_validate(Recipe(distill=DISTILL).as_spec()) == Recipe(distill=DISTILL)


def test_a_job_with_a_teacher_reads_back_and_is_another_training():
    plain = job("a", start=WeightsOf("b"))
    taught = replace(plain, teacher=TEACHER)
    assert from_json(json.loads(json.dumps(to_json(taught)))) == taught
    assert identity_of(taught) != identity_of(plain)
    assert taught.sources == ("b", "prune-r0-pretrain")
    assert replace(taught, start=WeightsOf("prune-r0-pretrain")).sources == ("prune-r0-pretrain",)


def test_the_price_has_one_pass_of_the_teacher_for_each_image_and_epoch():
    plain = job("a", work=Train(Recipe(epochs=4), stop_epoch=3))
    taught = replace(plain, teacher=TEACHER)
    assert price_s(taught, INFO, 1e3, "cpu") - price_s(plain, INFO, 1e3, "cpu") == pytest.approx(3 * 60 * 5000 / 1e3)
    assert price_s(taught, INFO, 1e3, "cpu", 2e3) - price_s(plain, INFO, 1e3, "cpu") == pytest.approx(
        3 * 60 * 5000 / 2e3
    )
    supernet = replace(taught, work=TrainSupernet(Recipe(epochs=2)))
    assert teaching_s(supernet, 100, 1e3) == pytest.approx(2 * 100 * 5000 / 1e3)
    assert teaching_s(plain, 100, 1e3) == 0


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("global_magnitude+distilled", Method("global", "magnitude", is_distilled=True)),
        ("uniform_lamp+gradual+distilled", Method("uniform", "lamp", "gradual", True)),
        ("channels_magnitude+iterative", Method("channels", "magnitude", "iterative")),
    ],
)
def test_methods_with_a_teacher_have_a_name_of_their_own(name, method):
    assert parse_method(name) == method
    assert str(method) == name
    assert str(method.undistilled) == name.removesuffix("+distilled")
    assert method.text.endswith(", distilled") == method.is_distilled


def jobs_of(config):
    view = check_study(config if not isinstance(config, dict) else parse_config(config, "c"), need_data=False)
    return {planned.job.name: planned.job for planned in play(view, NOMINAL, "cpu").jobs}


def test_every_phase_of_every_route_learns_from_the_parent_of_its_replicate(tiny):
    plain = jobs_of(tiny | {"replicates": 2})
    tiny["recipe"]["distill"] = {"teacher": "parent"}
    taught = jobs_of(tiny | {"replicates": 2})
    assert set(taught) == set(plain)
    assert {name: j.seed for name, j in taught.items()} == {name: j.seed for name, j in plain.items()}
    for each in taught.values():
        trains = isinstance(each.work, Train) and each.phase != "pretrain"
        teacher = None if each.teacher is None else each.teacher.job
        assert teacher == (f"prune-r{each.replicate}-pretrain" if trains else None), each.name
        assert each.teacher is None or (each.teacher.image_shape, each.teacher.macs) == ((1, 28, 28), 945_024)
    order = list(taught)
    assert all(
        order.index(f"prune-r{j.replicate}-pretrain") < order.index(name) for name, j in taught.items() if j.teacher
    )


def test_contenders_with_and_without_a_teacher_in_one_study(tiny):
    tiny["routes"]["prune"] |= {
        "criterion": ["global_magnitude", "global_magnitude+distilled", "uniform_lamp+gradual+distilled"],
        "distilled": {"weight": 0.7}, "deliver": "each",
    }  # fmt: skip
    tiny["targets"] = ["0.6M"]
    jobs = jobs_of(tiny)
    weights = {
        name.removeprefix("prune-r0-t600000-"): j.work.recipe.teaching and j.work.recipe.teaching.weight
        for name, j in jobs.items() if j.phase == "finetune"
    }  # fmt: skip
    assert weights == {
        "global_magnitude-finetune": None,
        "global_magnitude+distilled-finetune": 0.7,
        "uniform_lamp+gradual+distilled-finetune": 0.7,
    }
    assert sum(j.work.label == "prune:global_magnitude+distilled" for j in jobs.values() if j.phase == "evaluate") == 1


REFUSED = {
    "no such network": ({"recipe.distill": {"teacher": "timm:resnet81"}}, "resnet81'; near it: resnet18"),
    "other classes": ({"recipe.distill": {"teacher": "timm:resnet18"}}, "know 1000 classes, the data has 10"),
    "no network": ({"recipe.distill": {"teacher": "timm:"}}, "write timm:NAME"),
    "no such file": ({"recipe.distill": {"teacher": "x.safetensors"}}, "recipe.distill.teacher: no file at"),
    "itself": ({"parent.pretrain.distill": {"teacher": "parent"}}, "the parent cannot teach itself"),
    "no parent": (
        {"recipe.distill": {"teacher": "parent"}, "routes": {"search": {"candidate": {"epochs": 1}}}},
        "routes.prune is missing",
    ),
    "a word": ({"recipe.distill": "on"}, "'on' given; write off, or a section such as {teacher: parent}"),
    "an unknown key": ({"recipe.distill": {"wieght": 1}}, "unknown key 'recipe.distill.wieght' (did you mean 'weight'?)"),
    "a weight of nothing": ({"recipe.distill": {"weight": 0}}, "recipe.distill.weight"),
    "a teacher for no method": ({"routes.prune.distilled": {"weight": 0.2}}, "no criterion has +distilled"),
    "twice": (
        {"recipe.distill": {"weight": 0.2}, "routes.prune.criterion": ["global_magnitude+distilled"]},
        "+distilled has no effect: routes.prune.finetune has a teacher already",
    ),
    "a phase of no epochs": (
        {"routes.prune.finetune": {"epochs": 0, "distill": {"weight": 0.5}}},
        "routes.prune.finetune.distill: has no effect",
    ),
    "an unknown mark": ({"routes.prune.criterion": ["global_magnitude+taught"]}, "unknown schedule 'taught'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_teach_is_refused_in_one_line(case, tiny, write_config, refuses):
    changes, says = REFUSED[case]
    for key, value in changes.items():
        *places, last = key.split(".")
        at = tiny
        for place in places:
            at = at[place]
        at[last] = value
    if case == "no parent":
        del tiny["parent"]["pretrain"]
    refuses(["run", write_config(tiny)], says)


def test_a_file_of_weights_and_a_delivered_network_teach(tiny, tiny_study, tmp_path, write_config):
    """The file holds the parent's network; the folder states its own image size and normalisation."""
    folder = next((tiny_study / "models").glob("*/prune/[0-9]*"))
    weights = tiny_study / "checkpoints" / "prune-r0-pretrain"
    file = next(weights.glob("*.safetensors"))
    for given, macs in ((file, 945_024), (folder, 945_024)):
        tiny["recipe"]["distill"] = {"teacher": str(given)}
        view = check_study(load_configs(write_config(tiny))[0], need_data=False)
        teacher = view.teachers[str(given)]
        assert (teacher.macs, teacher.job, teacher.image_shape) == (macs, None, (1, 28, 28))


def test_a_delivered_network_of_other_images_is_shown_them(tiny, tiny_study, tmp_path):
    import shutil

    folder = tmp_path / "other"
    shutil.copytree(next((tiny_study / "models").glob("*/prune/[0-9]*")), folder)
    about = json.loads((folder / "architecture.json").read_text())
    about |= {"image_shape": [1, 32, 32], "mean": [0.5], "std": [0.25], "interpolation": "bicubic"}
    (folder / "architecture.json").write_text(json.dumps(about))
    tiny["recipe"]["distill"] = {"teacher": str(folder)}
    teacher = check_study(parse_config(tiny, "c"), need_data=False).teachers[str(folder)]
    assert (teacher.image_shape, teacher.mean, teacher.std) == ((1, 32, 32), (0.5,), (0.25,))
    assert teacher.macs > 945_024  # its images are larger
    about["class_names"] = ["another", *about["class_names"][1:]]
    (folder / "architecture.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="knows other classes"):
        check_study(parse_config(tiny, "c"), need_data=False)


def test_a_teacher_whose_file_has_changed_is_noticed(tiny, tmp_path):
    from harness.models.build import build_network, parent_spec
    from harness.stored.content import content_changes, content_of

    config = parse_config(tiny, "c")
    path = tmp_path / "w.safetensors"
    tiny["recipe"]["distill"] = {"teacher": str(path)}
    info = check_study(config, need_data=False).info
    state = build_network(parent_spec(config.parent, info)).state_dict()
    save_file(state, path)
    then = content_of(parse_config(tiny, "c"))
    name = next(name for name in state if name.endswith("weight"))
    save_file(state | {name: state[name] + 1}, path)
    (line,) = content_changes(then, content_of(parse_config(tiny, "c")))
    assert line.startswith(f"the teacher {path}: its content differs")
    assert content_changes(then, then) == []
