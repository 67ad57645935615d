"""Users' files of weights: what trainers write is read, the rest is refused in one line, and no code in them runs."""

import argparse
import collections
import datetime
import gzip
import io
import json
import os
import pathlib
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_nets import net, state
from torch import nn

from harness.errors import InputError
from harness.models.build import fit_checkpoint, load_checkpoint


def loads(given, path, model=None, **save):
    """Write, read and fit a file; returns whether every tensor then equals the source's."""
    torch.save(given, path, **save)
    model = model or net(1)
    left = fit_checkpoint(model, load_checkpoint(path), path)
    source = net(0).state_dict()
    assert left == []
    return all(torch.equal(value, source[name]) for name, value in model.state_dict().items())


class Settings(dict):
    """A trainer's own mapping class, like AttributeDict and CfgNode."""

    __getattr__ = dict.get


class Colour(collections.UserList):
    pass


EXTRAS = {
    "a namespace": argparse.Namespace(lr=0.1, output=pathlib.Path("out"), when=datetime.datetime(2026, 1, 1)),
    "numbers of numpy": {"best": np.float64(71.2), "steps": np.int64(3), "curve": np.arange(3.0)},
    "a mapping of its own": Settings(lr=0.1, nested=Settings(a=1)),
    "an object with a list": Colour([1, 2]),
    "a default dict": collections.defaultdict(list, {"a": [1]}),
    "a function": torch.nn.functional.relu,
    "a type and a set": [torch.float16, frozenset([1]), slice(1, 2), range(3), 3 + 4j],
    "an optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("extra", EXTRAS)
def test_what_lies_beside_the_weights_does_not_matter(extra, is_zip, tmp_path):
    given = {"epoch": 3, "arch": "x", "args": EXTRAS[extra], "state_dict": net().state_dict(), "metric": 71.2}
    assert loads(given, tmp_path / "model_best.pth.tar", _use_new_zipfile_serialization=is_zip)


def test_nothing_beside_the_weights_is_imported(tmp_path, monkeypatch):
    module = types.ModuleType("trainer_of_a_user")
    exec("class Config: pass", vars(module))
    module.Config.__module__ = module.__name__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({"config": module.Config(), "model": net().state_dict()}, tmp_path / "c.pt")
    monkeypatch.delitem(sys.modules, module.__name__)
    assert fit_checkpoint(net(1), load_checkpoint(tmp_path / "c.pt"), tmp_path) == []


WRAPPED = {
    "timm": lambda s: {"state_dict": s, "epoch": 1},
    "timm, averaged": lambda s: {"state_dict": state(net(5)), "state_dict_ema": s},
    "average under another name": lambda s: {"state_dict": state(net(5)), "ema_state_dict": s},
    "torchvision": lambda s: {"model": s, "optimizer": {}, "lr_scheduler": {}, "epoch": 89},
    "Lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "pytorch-lightning_version": "2"},
    "Lightning with a loss and a teacher": lambda s: {
        "state_dict": {
            **{f"net.{k}": v for k, v in s.items()}, "loss.weight": torch.ones(3, 3), "teach.x.weight": torch.ones(2, 2)
        }
    },
    "Lightning with averages": lambda s: {
        "state_dict": {
            **{f"model.{k}": v for k, v in net(5).state_dict().items()}, **{f"model_ema.{k}": v for k, v in s.items()}
        }
    },
    "DistributedDataParallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "torch.compile": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "both": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "FSDP": lambda s: {
        f"_fsdp_wrapped_module.{k.replace('layer1.', 'layer1._fsdp_wrapped_module.')}": v for k, v in s.items()
    },
    "AveragedModel": lambda s: {"n_averaged": torch.tensor(5), **{f"module.{k}": v for k, v in s.items()}},
    "student and teacher": lambda s: {"student": state(net(5)), "teacher": {f"module.{k}": v for k, v in s.items()}},
    "student and teacher in one": lambda s: {
        **{f"student.backbone.{k}": v for k, v in net(5).state_dict().items()},
        **{f"teacher.backbone.{k}": v for k, v in s.items()},
    },
    "MMEngine": lambda s: {"meta": {"epoch": 1}, "state_dict": {f"backbone.{k}": v for k, v in s.items()}},
    "nested twice": lambda s: {"model": {"state_dict": s}, "epoch": 1},
    "Composer": lambda s: {
        "state": {
            "model": {f"module.{k}": v for k, v in s.items()},
            "optimizers": {"SGD": {"state": {"fc.weight": s["fc.weight"]}}},
            "timestamp": {"Timestamp": {"epoch": 3}},
        },
        "rng": [{"torch": torch.zeros(3, dtype=torch.uint8)}],
    },
    "a key of one's own": lambda s: {"my_net": s, "my_optimizer": {"state": {}}, "best": 71.2},
    "a key around known ones": lambda s: {"checkpoint": {"epoch": 3, "state_dict": s}},
    "an average under a key of one's own": lambda s: {"net_now": state(net(5)), "net_ema": s},
    "parameters": lambda s: {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()},
}  # fmt: skip


def test_two_networks_under_keys_of_one_s_own_are_refused_with_both(tmp_path):
    torch.save({"generator": net().state_dict(), "critic": net(1).state_dict()}, tmp_path / "gan.pt")
    with pytest.raises(InputError, match="several state dicts, under 'generator' and 'critic'; save only the one"):
        load_checkpoint(tmp_path / "gan.pt")


@pytest.mark.parametrize("trainer", WRAPPED)
def test_the_wrappings_of_trainers(trainer, tmp_path):
    assert loads(WRAPPED[trainer](state(net())), tmp_path / "c.pt")


def test_two_networks_that_fit_are_refused_with_both_names(tmp_path):
    def under(prefix, state):
        return {f"{prefix}.{name}": value for name, value in state.items()}

    mine, other = net().state_dict(), net(5).state_dict()
    torch.save(under("encoder_q", mine) | under("encoder_k", other), tmp_path / "c.pt")
    with pytest.raises(InputError, match=r"holds two networks that fit, under 'encoder_[qk]' and 'encoder_[qk]'"):
        fit_checkpoint(net(1), load_checkpoint(tmp_path / "c.pt"), tmp_path / "c.pt")
    assert loads(under("encoder_q", mine) | under("encoder_k", mine), tmp_path / "same.pt")


OTHER_FILES = {
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "git lfs pull"),
    "compressed": (gzip.compress(b"weights"), "compressed by gzip"),
    "a pickle of something else": (pickle.dumps({"a": object()}, protocol=4), "not a checkpoint of weights"),
    "a text": (b"hello", "not a checkpoint of weights"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_other_files_are_named_and_nobody_is_advised_to_read_them_without_care(kind, tmp_path):
    content, says = OTHER_FILES[kind]
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(InputError, match=says) as refusal:
        load_checkpoint(tmp_path / "c.pt")
    assert "weights_only" not in str(refusal.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_types_are_cast(dtype, tmp_path):
    given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net().state_dict().items()}
    torch.save(given, tmp_path / "c.pt")
    model = net(1)
    fit_checkpoint(model, load_checkpoint(tmp_path / "c.pt"), tmp_path)
    weights = dict(model.named_parameters())
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    assert all(torch.equal(weight, given[name].float()) for name, weight in weights.items())


def test_safetensors_under_any_name_and_in_shards(tmp_path):
    whole = {k: v.contiguous() for k, v in state(net()).items()}
    save_file(whole, tmp_path / "pytorch_model.bin")
    names = list(whole)
    half = len(names) // 2
    for number, part in enumerate((names[:half], names[half:])):
        save_file({k: whole[k] for k in part}, tmp_path / f"model-{number}.safetensors")
    index = {k: f"model-{int(i >= half)}.safetensors" for i, k in enumerate(names)}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for name in ("pytorch_model.bin", "model.safetensors.index.json"):
        found = load_checkpoint(tmp_path / name)
        assert found.keys() == whole.keys()
        assert all(torch.equal(found[k], whole[k]) for k in whole)


def test_names_of_the_first_authors_are_translated_as_timm_does(tmp_path):
    source, model = net(0, "convnext_atto"), net(1, "convnext_atto")
    theirs = {}
    for name, value in state(source).items():
        for ours, other in (("stem.0", "downsample_layers.0.0"), ("stem.1", "downsample_layers.0.1"), ("head.fc", "head"),
                            ("head.norm", "norm"), (".conv_dw.", ".dwconv."), (".mlp.fc1.", ".pwconv1."),
                            (".mlp.fc2.", ".pwconv2.")):  # fmt: skip
            name = name.replace(ours, other)
        parts = name.split(".")
        if parts[0] == "stages":
            name = ".".join(["downsample_layers", parts[1], *parts[3:]] if parts[2] == "downsample" else
                            ["stages", parts[1], *parts[3:]])  # fmt: skip
        theirs[name] = value
    assert fit_checkpoint(model, theirs, tmp_path) == []
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in source.state_dict().items())


class Attack:
    """A pickle that would write a file when loaded."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


ATTACKS = {
    "posix.system": (os.system, "touch {}"),
    "builtins.exec": (exec, "open({!r}, 'w')"),
    "builtins.eval": (eval, "open({!r}, 'w')"),
    "io.open": (io.open, "{}", "w"),
    "subprocess.run": (__import__("subprocess").run, ["touch", "{}"]),
}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_named_and_does_not_run(name, is_zip, tmp_path):
    function, *arguments = ATTACKS[name]
    victim = str(tmp_path / "written")
    arguments = [[a.format(victim) for a in b] if isinstance(b, list) else b.format(victim) for b in arguments]
    hidden = argparse.Namespace(lr=Attack(function, *arguments))
    torch.save({"state_dict": state(net()), "args": hidden}, tmp_path / "c.pt", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(InputError, match=r"could run programs|no checkpoint") as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "written").exists()


def test_an_attack_by_a_users_own_class_runs_nothing(tmp_path, monkeypatch):
    module = types.ModuleType("argparse2")
    exec("import os\nclass Namespace:\n  def __setstate__(self, s): os.system(s['run'])", vars(module))
    module.Namespace.__module__ = "argparse2"
    monkeypatch.setitem(sys.modules, "argparse2", module)
    args = module.Namespace()
    args.run = f"touch {tmp_path / 'written'}"
    torch.save({"state_dict": state(net()), "args": args}, tmp_path / "c.pt")
    assert load_checkpoint(tmp_path / "c.pt").keys() == state(net()).keys()
    assert not (tmp_path / "written").exists()


def test_a_plain_pickle_runs_nothing(tmp_path):
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(Attack(os.system, f"touch {tmp_path / 'written'}")))
    with pytest.raises(InputError):
        load_checkpoint(tmp_path / "c.pkl")
    assert not (tmp_path / "written").exists()


def write_script(path):
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def write_torn(path):
    torch.save(state(net()), path)
    path.write_bytes(path.read_bytes()[:-5000])


def write_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**6)


FILES = {
    "a whole module": (lambda p: torch.save(nn.Linear(2, 2), p), "torch.nn.modules.linear.Linear"),
    "a module among others": (lambda p: torch.save({"model": nn.Linear(2, 2), "epoch": 1}, p), "a whole module"),
    "a TorchScript program": (write_script, "TorchScript"),
    "a torn zip": (write_torn, "not a checkpoint of weights"),
    "a zip bomb": (write_bomb, "compressed"),
    "nothing": (lambda p: p.write_bytes(b""), "empty"),
    "words": (lambda p: p.write_text("these are words"), "not a checkpoint of weights"),
    "a numpy archive": (lambda p: np.savez(p.open("wb"), a=np.ones(2)), "NumPy"),
    "a folder": (lambda p: p.mkdir(), "folder"),
    "an empty dict": (lambda p: torch.save({}, p), "empty dict"),
    "a list": (lambda p: torch.save([torch.ones(2)], p), "a list"),
    "a tensor": (lambda p: torch.save(torch.ones(2), p), "a Tensor"),
    "numbers for names": (lambda p: torch.save({0: torch.ones(2)}, p), "keys such as 0"),
    "no tensors": (lambda p: torch.save({"epoch": 3, "note": "x"}, p), "its keys: 'epoch', 'note'"),
    "an object between tensors": (
        lambda p: torch.save({"a": torch.ones(2), "b": argparse.Namespace()}, p), "argparse.Namespace under 'b'"
    ),
    "an object inside a state dict": (lambda p: torch.save({"state_dict": {"a": torch.ones(2), "b": {}}}, p), "'b'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_checkpoint_is_said_in_one_line(kind, tmp_path):
    write, says = FILES[kind]
    write(tmp_path / "c.pt")
    with pytest.raises(InputError, match=r"parent\.checkpoint") as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


def with_value(value):
    def change(given):
        given["layer1.0.conv1.weight"] = value(given["layer1.0.conv1.weight"])

    return change


def nan_at(*place):
    def put(value):
        value[place] = float("nan")
        return value

    return put


TENSORS = {
    "NaN": (with_value(nan_at(0, 0, 0, 0)), "layer1.0.conv1.weight has values that are NaN or infinite"),
    "infinite": (with_value(lambda v: v + float("inf")), "NaN or infinite"),
    "too large": (with_value(lambda v: v.double() + 1e300), "too large"),
    "complex": (with_value(lambda v: v.to(torch.complex64)), "complex64"),
    "sparse": (with_value(lambda v: v.to_sparse()), "sparse_coo"),
    "on meta": (with_value(lambda v: v.to("meta")), "meta device"),
    "whole numbers": (with_value(lambda v: v.to(torch.int8)), "int8"),
    "quantised": (with_value(lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)), "qint8"),
    "float8": (with_value(lambda v: v.to(torch.float8_e4m3fn)), "float8"),
    "expanded to an absurd size": (with_value(lambda v: torch.zeros(1).expand(10**6, 10**6)), "another shape"),
    "negative variances": (lambda g: g.update({"bn1.running_var": -g["bn1.running_var"]}), "bn1.running_var"),
    "NaN in a buffer": (lambda g: g["bn1.running_mean"].fill_(float("nan")), "bn1.running_mean"),
    "more layers than the parent": (lambda g: g.update({"layer1.7.conv1.weight": torch.ones(2, 2)}), "layer1.7.conv1"),
    "a bias that the parent lacks": (lambda g: g.update({"conv1.bias": torch.ones(16)}), "conv1.bias"),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_are_no_weights_of_the_parent_are_named(kind, tmp_path):
    change, says = TENSORS[kind]
    given, model = state(net()), net(1)
    change(given)
    before = state(model)
    with pytest.raises(InputError, match=r"parent\.checkpoint") as caught:
        fit_checkpoint(model, given, tmp_path / "c.pt")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in state(model).items())


def test_tied_weights_need_to_be_there_once(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

    model = Tied()
    assert fit_checkpoint(model, {"a.weight": torch.eye(3)}, tmp_path) == []
    assert torch.equal(model.b.weight, torch.eye(3))
