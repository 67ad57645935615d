"""Mistakes in a user's own files are found before anything is paid for, or else cost one attempt and no retry."""

import json
import re
from collections import Counter

import pytest
import yaml
from inline_runs import quick, records
from outside_plugins import ALL

from accounting.ledger.records import Kind
from accounting.study import plugins
from nas_baseline.proposing import tried as tried_strategies
from pruning import tried as tried_criteria

BASE = {
    "name": "mistakes",
    "dataset": {"name": "stripes", "options": {"num_images": 120}},
    "plugins": ["stripes.py", "energy.py"],
    "parent": {"family": "fbnetv3_mini", "variant": "m", "pretrain": {"epochs": 1}},
    "targets": ["0.5M"],
    "replicates": 1,
    "recipe": {"batch_size": 40, "lr": 0.05, "epochs": 1},
    "routes": {"prune": {"criterion": ["global_energy"], "finetune": {"epochs": 1}}},
    "resources": {"max_attempts": 3},
}
HEAD = """
import torch
class Criterion:
    needs_gradients = {needs}
    def __init__(self{arguments}): pass
    def scores(self, weight, context):
"""


def criterion(line, needs="False", arguments=""):
    return HEAD.format(needs=needs, arguments=arguments) + f"        {line}\n"


CRITERIA = {
    "raises": (criterion("return weight.norm_of_all()"), r"on the weights of a convolution fails: AttributeError: .*line 7"),
    "raises on zeros": (
        criterion("return {0: 1}[int(weight.abs().sum() == 0)] * weight.abs()"),
        r"a convolution that are all zero fails: KeyError: 1, line 7",
    ),
    "one score per output": (
        criterion("return weight.flatten(1).abs().sum(1)"), r"scores of shape \(6,\) for weights of \(6, 4, 3, 3\)",
    ),
    "doubles": (criterion("return weight.detach().double().abs()"), r"gives scores of torch.float64; torch.float32"),
    "a number": (criterion("return 1.0"), "gives a float; a tensor of one score per weight is needed"),
    "nothing": (criterion("pass"), "gives a NoneType; a tensor"),
    "negative": (criterion("return weight.detach()"), r"gives scores down to -0\.\d+; each must be a number of at least 0"),
    "0 / 0 on zeros": (
        criterion("return weight.abs() / weight.abs().max()"), "that are all zero gives scores that are not finite",
    ),
    "changes the weights": (criterion("return weight.abs_()"), "changes them; work on a copy"),
    "needs arguments": (criterion("return weight.abs()", arguments=", power"), "cannot be made: TypeError: .*power"),
    "no word on gradients": (criterion("return weight.abs()", needs="None"), "does not say needs_gradients"),
    "gradients that it did not ask for": (
        criterion("return (weight * context.gradient).abs()"), r"fails: TypeError: .*line 7",
    ),
    "leaves the process": (criterion("raise SystemExit(0)"), "fails: SystemExit: 0, line 7"),
    "leaves when it is read": ("import sys\nsys.exit(0)\n" + ALL["energy"], r"energy\.py fails: SystemExit: 0, line 2"),
    "a lack that passes, but not now": (criterion("open('/no/such/file')"), "fails: FileNotFoundError: .*line 7"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_files_left_in_use():
    yield
    plugins.use([])


@pytest.fixture
def study(tmp_path):
    """A function that writes a study with plug-in files and returns the path of its config."""

    def write(files, **changes):
        for name, text in (ALL | files).items():
            (tmp_path / f"{name}.py").write_text(text)
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(BASE)) | changes))
        return path

    return write


def assert_refused(done, *says):
    code, out, err = done
    lines = err.splitlines()
    assert (code, out, len(lines)) == (2, "", 1), err
    assert lines[0].startswith("error: ")
    assert all(re.search(part, lines[0]) for part in says), err


@pytest.mark.parametrize("case", CRITERIA)
def test_a_criterion_is_tried_before_anything_is_paid_for(case, study, command, tmp_path):
    text, words = CRITERIA[case]
    path = study({"energy": text})
    assert_refused(command("plan", path), r"energy\.py", words)
    if case in ("raises", "0 / 0 on zeros"):
        assert_refused(command("run", path, "--backend", "inline", "--out", tmp_path / "out"), r"energy\.py", words)
        assert not (tmp_path / "out").exists()


def test_each_of_several_criteria_has_its_line(study, command):
    path = study(
        {"energy": criterion("pass"), "other": criterion("return 1")}, plugins=["stripes.py", "energy.py", "other.py"]
    )
    code, _, err = command("plan", path)
    assert code == 2
    assert [re.search(r"criterion '(\w+)'", line)[1] for line in err.splitlines()] == ["energy", "other"]


def test_a_channel_criterion_is_tried_too(study, command):
    routes = {"prune": {"criterion": ["channels_energy"], "finetune": {"epochs": 1}}}
    assert_refused(
        command("plan", study({"energy": criterion("return weight.float()")}, routes=routes)), "energy", "down to"
    )


LATE = {
    "raises": (criterion("return weight.detach().abs() * (1 if weight.numel() < 217 else weight.wrong)"), "AttributeError"),
    "leaves the process": (
        criterion("return weight.detach().abs() * (1 if weight.numel() < 217 else exit(0))"), "SystemExit",
    ),
    "no number": (
        criterion("return weight.detach().abs() * (1 if weight.numel() < 217 else float('nan'))"), "must be finite",
    ),
    "another shape": (
        criterion("return weight.detach().abs() if weight.numel() < 217 else weight.detach().abs()[0]"), "scores of shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("scope", ["global", "channels"])
@pytest.mark.parametrize("case", LATE)
def test_a_criterion_that_fails_on_the_real_weights_is_one_attempt(case, scope, study, command, tmp_path):
    text, words = LATE[case]
    routes = {"prune": {"criterion": [f"{scope}_energy"], "finetune": {"epochs": 1}}}
    config = study({"energy": text}, routes=routes)
    with quick():
        code, _, err = command("run", config, "--backend", "inline", "--out", tmp_path / "out", "-q")
    assert code == 1
    assert ("not finite" if (scope, case) == ("channels", "no number") else words) in err
    assert "energy.py" in err
    assert "Traceback" not in err
    attempts = Counter(record["job"] for record in records(tmp_path / "out", Kind.ATTEMPT_STARTED))
    assert set(attempts.values()) == {1}
    with quick():
        command("run", config, "--backend", "inline", "--out", tmp_path / "out", "-q")
    again = Counter(record["job"] for record in records(tmp_path / "out", Kind.ATTEMPT_STARTED))
    assert again == attempts, "nor does the next run try it again"


DATASETS = {
    "splits raise": ("n = self.options.num_images\n", "n = self.options.number\n", None),
    "labels outside the classes": ("torch.arange(n) % 4", "torch.arange(n) % 5", "labels 0 to 4; 0 to 3 are allowed"),
    "labels that are floats": ("labels.long()", "labels.float()", "torch.float32; one torch.int64 for each image"),
    "another number of images": ('"val": 80', '"val": 70', "val: has 70 images, its info says 80"),
    "an empty part": ('"test": 80}', '"test": 0}', "test: has no images"),
    "another size": ("(n, 1, 28, 28)", "(n, 1, 28, 29)", r"images of shape \(1, 28, 29\)"),
    "no pixels": ("(0.25,)", "(0.0,)", "pixels that are not finite"),
    "leaves the process": ("info, parts =", "exit(3)\n        info, parts =", "SystemExit: 3, line"),
}


@pytest.mark.parametrize("case", DATASETS)
def test_a_dataset_is_tried_before_anything_is_paid_for(case, study, command, tmp_path):
    old, new, words = DATASETS[case]
    assert old in ALL["stripes"]
    path = study({"stripes": ALL["stripes"].replace(old, new)})
    done = command("run", path, "--backend", "inline", "--out", tmp_path / "out")
    assert_refused(done, r"stripes\.py", words or "AttributeError: .*'number'")
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_fails_in_the_middle_is_one_attempt(study, command, tmp_path):
    text = ALL["stripes"] + (
        "\n\nclass Late(TensorSplit):\n"
        "    def batches(self, batch_size, device, *, augment):\n"
        "        for n, batch in enumerate(super().batches(batch_size, device, augment=augment)):\n"
        "            yield batch if batch_size < 9 or n < 1 else self.nothing\n"
    )
    text = text.replace("parts[name] = TensorSplit(", "parts[name] = Late(")
    assert "Late(images" in text
    with quick():
        code, _, err = command("run", study({"stripes": text}), "--backend", "inline", "--out", tmp_path / "out", "-q")
    assert code == 1
    assert re.search(r"stripes\.py, line \d+, fails: AttributeError", err), err
    assert [r["job"] for r in records(tmp_path / "out", Kind.ATTEMPT_STARTED)] == ["prune-r0-pretrain"]


def test_what_may_pass_is_tried_again(study, command, tmp_path):
    flag = tmp_path / "flag"
    lines = (
        f"import pathlib; flag = pathlib.Path({str(flag)!r}); "
        "first = weight.numel() > 217 and not flag.exists(); first and flag.touch(); "
        "first and open('/no/such/file'); return weight.detach().abs()"
    )
    with quick():
        code, _, _ = command(
            "run", study({"energy": criterion(lines)}), "--backend", "inline", "--out", tmp_path / "out", "-q"
        )
    assert code == 0
    attempts = Counter(record["job"] for record in records(tmp_path / "out", Kind.ATTEMPT_STARTED))
    assert [sorted(attempts.values())[-1], sum(attempts.values())] == [2, len(attempts) + 1]


ROUTES = {
    "ask raises": ("return self._queue.next(more=False)", "return self.nothing", r"line \d+, fails: AttributeError"),
    "tell raises": ("both = [name for", "both = [nothing for", r"line \d+, fails: NameError"),
    "is made wrongly": ("self._queue.put(job)", "self._queue.puts(job)", r"line \d+, fails: AttributeError"),
    "asks again": (
        "return self._queue.next(more=False)",
        "return next(iter(self._jobs.values()))",
        "proposed a second time",
    ),
    "waits for nothing": ("next(more=False)", "next(more=True)", "waits for an outcome, but no job is running"),
}


@pytest.mark.parametrize("words", ["plan", "run"])
@pytest.mark.parametrize("case", ROUTES)
def test_a_route_that_fails_is_known_before_anything_is_paid_for(case, words, study, command, tmp_path):
    old, new, says = ROUTES[case]
    assert old in ALL["smallest"]
    path = study(
        {"smallest": ALL["smallest"].replace(old, new)}, plugins=["stripes.py", "smallest.py"],
        routes={"smallest": {"epochs": 1}},
    )  # fmt: skip
    more = ("--backend", "inline", "--out", tmp_path / "out") if words == "run" else ()
    assert_refused(command(words, path, *more), "smallest", says)
    assert not (tmp_path / "out").exists()


HOLDS_UP = "def next_batch"
STRATEGIES = {
    "ask fails": ("if self._pools:", "if self.nothing:", r"fails: AttributeError: .*'nothing', line \d+"),
    "leaves the process": ("if self._pools:", "raise SystemExit(3)\n        if self._pools:", "fails: SystemExit: 3, line"),
    "finalists fail": (
        HOLDS_UP, "def finalists(self, *rest):\n        return self.nothing\n\n    def next_batch", "fails: AttributeError",
    ),
    "tell fails": (
        HOLDS_UP, "def tell(self, trial, value):\n        raise KeyError('boom')\n\n    def next_batch", "fails: KeyError",
    ),
    "proposes nothing": (
        HOLDS_UP, "def ask(self):\n        return None\n\n    def next_batch", "proposes a NoneType; ask gives a Proposal",
    ),
    "waits for nothing": (
        HOLDS_UP,
        "def ask(self):\n        from nas_baseline.proposing.proposals import Wait\n        return Wait()\n\n"
        "    def next_batch",
        "waits for a value, but every value has been told",
    ),
    "a network of another space": (
        HOLDS_UP, "def finalists(self, *rest):\n        return [(9999,)]\n\n    def next_batch",
        r"as a finalist proposes \(9999,\), which is not a network of the space",
    ),
    "finalists above the target": (
        HOLDS_UP,
        "def finalists(self, *rest):\n        import numpy\n        rng = numpy.random.default_rng(0)\n"
        "        return [max((self.space.sample(rng) for _ in range(300)), key=self.space.macs)]\n\n    def next_batch",
        r"gives a finalist of [\d.]+M MACs for a target of 0.5M",
    ),
    "finalists are no list": (
        HOLDS_UP, "def finalists(self, *rest):\n        return None\n\n    def next_batch", "gives a NoneType as finalists",
    ),
    "never comes back": (
        HOLDS_UP,
        "def ask(self):\n        while True:\n            try:\n                sum(range(10))\n"
        "            except Exception:\n                pass\n\n    def next_batch",
        "has not come to an end within 0.5 s",
    ),
}  # fmt: skip


def searched(study, text):
    search = {"strategy": {"name": "handful", "num_trials": 1, "options": {"pool": 20}}, "candidate": {"epochs": 1}}
    return study(
        {"handful": text}, plugins=["stripes.py", "handful.py"],
        routes={"search": search | {"retrain": {"epochs": 1}, "num_predicted": 0}},
    )  # fmt: skip


@pytest.mark.parametrize("case", STRATEGIES)
def test_a_strategy_is_tried_before_anything_is_paid_for(case, study, command, tmp_path, monkeypatch):
    old, new, says = STRATEGIES[case]
    if case == "never comes back":
        monkeypatch.setattr(tried_strategies, "LIMIT_S", 0.5)
    assert old in ALL["handful"]
    path = searched(study, ALL["handful"].replace(old, new, 1))
    assert_refused(
        command("run", path, "--backend", "inline", "--out", tmp_path / "out"),
        r"strategy 'handful' of .*handful\.py ",
        says,
    )
    assert not (tmp_path / "out").exists()
    assert_refused(command("plan", path), says)


def test_a_criterion_that_never_ends_is_known_before_anything_is_paid_for(study, command, tmp_path, monkeypatch):
    monkeypatch.setattr(tried_criteria, "LIMIT_S", 0.5)
    path = study({"energy": criterion("[0 for _ in iter(int, 1)]")})
    assert_refused(
        command("plan", path), "criterion 'energy' of", "has given no scores within 0.5 s; there are 216 weights"
    )


def test_a_strategy_that_fails_later_ends_the_session_in_one_line(study, command, tmp_path, monkeypatch):
    """The trial run of a strategy cannot find every mistake; here it is skipped."""
    monkeypatch.setattr("harness.routes.chooser.strategy_problem", lambda *given: None)
    path = searched(study, ALL["handful"].replace(*STRATEGIES["finalists fail"][:2]))
    with quick():
        code, _, err = command("run", path, "--backend", "inline", "--out", tmp_path / "out", "-q")
    assert code == 1
    assert re.fullmatch(r"error: plug-in .*handful\.py, line \d+, fails: AttributeError: .*'nothing'\n", err), err
