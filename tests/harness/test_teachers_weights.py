"""Weights that teach: published ones that must be at hand, and the parent's own under another name."""

from dataclasses import replace

import pytest
from test_distillation import TEACHER, jobs_of

from harness.config.study import parse_config
from harness.errors import InputError
from harness.jobs.teachers import check_published


def test_published_weights_that_cannot_be_had_are_refused_before_anything_is_paid_for(tiny, monkeypatch):
    network = {"builder": "timm", "name": "resnet18", "kwargs": {"pretrained": True}}
    teachers = {"timm:resnet18": replace(TEACHER, name="timm:resnet18", network=network)}
    tiny["recipe"]["distill"] = {"teacher": "timm:resnet18"}
    config, built = parse_config(tiny, "c"), []
    monkeypatch.setattr("harness.jobs.teachers.build_network", built.append)
    check_published(config, teachers)
    assert built == [network]

    def unreachable(_spec):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("harness.jobs.teachers.build_network", unreachable)
    with pytest.raises(
        InputError, match=r"^recipe\.distill\.teacher: timm:resnet18: its published weights are not avail"
    ):
        check_published(config, teachers)
    check_published(parse_config(tiny | {"recipe": {"batch_size": 50}}, "c"), {})


def test_the_parents_own_weights_under_another_name_are_the_parent(tiny, tiny_study):
    """So who learns from them pays what the parent cost; after further training the file is another network."""
    file = str(next((tiny_study / "checkpoints" / "prune-r0-pretrain").glob("*.safetensors")))
    tiny["recipe"]["distill"] = {"teacher": file}
    for epochs, name, trained_by in ((0, "parent", "prune-r0-pretrain"), (1, file, None)):
        tiny["parent"] |= {"checkpoint": file, "pretrain": {"epochs": epochs}}
        found = {(job.teacher.name, job.teacher.job) for job in jobs_of(tiny).values() if job.teacher is not None}
        assert found == {(name, trained_by)}
