"""What all parts of a mapping file are made of: their base, and the words that several share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def one_or_more(value: Any) -> Any:
    """Returns a tuple: TOML has arrays only, and one condition or path needs no brackets."""
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, (str, dict)) else value


class Part(BaseModel):
    """Base of all parts of a mapping file: immutable, strict, unknown words refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


Scalar = str | int | float | bool
Expression = Annotated[str, Field(min_length=1, max_length=1_000)]
Conditions = Annotated[tuple[Expression, ...], BeforeValidator(one_or_more)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Seconds = Annotated[float, Field(gt=0, le=400 * 86_400)]
