"""Ranges that many settings share, as types: what a configuration may hold is said beside the field that holds it.

Place in the flow: used in the dataclasses behind `conf/`; `sei.schema` checks them when it builds the objects.

Example::

    @dataclass(frozen=True)
    class Selection:
        keep: PositiveShare = 0.2
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise PydanticCustomError("share", "must be between 0 and 1")
    return value


def _positive_share(value: float) -> float:
    if not 0 < value <= 1:
        raise PydanticCustomError("positive_share", "must be above 0, and 1 at most")
    return value


Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Share = Annotated[float, AfterValidator(_share)]
PositiveShare = Annotated[float, AfterValidator(_positive_share)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
