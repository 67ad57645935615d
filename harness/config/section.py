"""What every section of a config has: unknown keys are errors, values are frozen, MACs and hours are read with units."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from accounting.words.quantities import parse_hours, parse_macs

Macs = Annotated[int, BeforeValidator(parse_macs)]
Hours = Annotated[float, BeforeValidator(parse_hours)]


class Strict(BaseModel):
    """A section of a config."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: object, info: ValidationInfo) -> object:
        """YAML's ``true`` and ``yes`` would pass as 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError(f"{str(value).lower()} is no value for it")
        return value
