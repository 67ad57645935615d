"""The base of every config section: unknown keys are errors, values are frozen, MACs and hours are read with units."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema, field_validator

from accounting.words.quantities import parse_hours, parse_macs, parse_percent

_Hours = Annotated[str, WithJsonSchema({"type": "string", "format": "hours", "examples": ["30 min", "2 h"]})]

NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?$"
"""A study's name, which names its folder."""
LABEL_PATTERN = r"^[A-Za-z][A-Za-z0-9_.-]*$"


def _target(value: str | int | float) -> int:
    """The MACs of a target; an invalid share of the parent's raises an error that says so."""
    parse_percent(value)
    return parse_macs(value)


_Target = Annotated[
    int | str, WithJsonSchema({"type": ["integer", "string"], "format": "target", "examples": ["0.5M", "50%"]})
]
Target = Annotated[int, BeforeValidator(_target, json_schema_input_type=_Target)]
Hours = Annotated[float, BeforeValidator(parse_hours, json_schema_input_type=_Hours)]


class Strict(BaseModel):
    """A section of a config. Values are not converted: ``"3"`` is not a number, ``yes`` not a switch; 3.0 is the integer 3.

    The string below a field is its description wherever a config is looked up (:mod:`harness.config.reference`).
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _whole_number(cls, value: object, info: ValidationInfo) -> object:
        """Accept ``1e5`` as a whole number."""
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        return int(value) if isinstance(value, float) and value.is_integer() and kinds == {int} else value


def _kinds(annotation: object) -> set[object]:
    kinds = get_args(annotation) or (annotation,)
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        kinds = tuple(get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds)
    return set(kinds) - {NoneType}


def parts_of(annotation: object) -> list[type[BaseModel]]:
    """The sections that a field of this type may hold."""
    return [kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
