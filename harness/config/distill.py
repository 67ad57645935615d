"""Learning from a teacher: the fields of ``distill`` in a recipe, and the places in a config that name a teacher."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, field_validator

from accounting.study.yaml12 import Place
from harness.config.section import Strict

PARENT = "parent"
TIMM = "timm:"
OFF: Literal["off"] = "off"


class Distill(Strict):
    """Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531): learn from a teacher's outputs and the labels."""

    teacher: str = Field(PARENT, min_length=1)
    """Who teaches: ``parent`` (as trained for that replicate), ``timm:NAME`` with timm's published weights, a file of
    weights of the parent's network, or a delivered network's folder."""
    weight: float = Field(0.5, gt=0, le=1)
    """The teacher's share of the loss; the rest is that of the labels."""
    temperature: float = Field(2.0, gt=0, le=1000)
    """Divides the outputs of both networks before they are compared; the loss is multiplied by its square."""

    @field_validator("teacher")
    @classmethod
    def _some_name(cls, value: str) -> str:
        if value == TIMM:
            raise ValueError("timm: names no network; write timm:NAME, a name of timm.list_models()")
        return value

    @property
    def is_file(self) -> bool:
        """Whether the teacher is given as a path."""
        return is_teacher_file(self.teacher)


def section_or_off(value: object) -> object:
    """What ``distill`` may be: a section, or ``off``."""
    if value is not None and value != OFF and not isinstance(value, dict | Distill):
        raise ValueError(f"{value!r} given; write {OFF}, or a section such as {{teacher: {PARENT}}}")
    return value


def is_teacher_file(teacher: str) -> bool:
    """Whether a teacher's name is a path."""
    return teacher != PARENT and not teacher.startswith(TIMM)


def distillations(section: Strict, place: Place = ()) -> Iterator[tuple[Place, Distill]]:
    """Every ``distill`` that a section holds, with its place."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Distill):
            yield (*place, key), value
        elif isinstance(value, Strict):
            yield from distillations(value, (*place, key))
