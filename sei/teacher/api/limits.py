"""The roles of an API teacher by name, and the bounds of each role's calls.

Place in the flow: `roles` puts a role's limits into its requests; `teacher.limits` of the configuration replaces single fields.

Example::

    limits_with({"diagnose": {"max_tokens": 800}})["diagnose"]      # Limits(max_tokens=800, temperature=0.0, ...)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sei.errors import UserError

RoleName = Literal[
    "solve",
    "diagnose",
    "locate",
    "correct",
    "evolve",
    "synthesize",
    "cluster_seed",
    "cluster_extend",
    "cluster_merge",
    "name_type",
    "template",
    "trace",
    "inspect",
]


@dataclass(frozen=True)
class Limits:
    """Bounds of one role's calls. `mean_tokens_out` is the dry run's guess until answers of the prompt are stored."""

    max_tokens: int
    temperature: float | None
    mean_tokens_out: int


# Ours. Temperature 0 where one answer is right, 0.8 where variety is wanted; a synthesize reply holds 20 problems of
# about 200 tokens. The means are the lengths of such replies as we would write them, replaced by what the store knows.
# In the order of the flow, in which the ledger shows them.
LIMITS: dict[RoleName, Limits] = {
    "solve": Limits(1024, 0.0, 250),
    "diagnose": Limits(512, 0.0, 90),
    "locate": Limits(1024, 0.0, 150),
    "correct": Limits(1024, 0.0, 180),
    "evolve": Limits(512, 0.8, 100),
    "cluster_seed": Limits(8192, 0.0, 2200),  # copies about 100 phrases of 15 tokens
    "cluster_extend": Limits(8192, 0.0, 2200),
    "cluster_merge": Limits(2048, 0.0, 300),
    "name_type": Limits(512, 0.0, 90),
    "synthesize": Limits(8192, 0.8, 4000),
    "template": Limits(2048, 0.0, 500),
    "trace": Limits(1024, 0.0, 200),
    "inspect": Limits(1024, 0.0, 80),
}


def limits_with(overrides: Mapping[str, Mapping[str, Any]]) -> dict[RoleName, Limits]:
    """`LIMITS` with some fields of some roles replaced (`teacher.limits`). Raises UserError naming what is wrong."""
    limits = dict(LIMITS)
    known = {field.name for field in dataclasses.fields(Limits)}
    for role, fields in overrides.items():
        if role not in limits or not set(fields) <= known:
            raise UserError(
                f"teacher.limits.{role}={dict(fields)}: a role is one of {', '.join(limits)}; "
                f"its fields are {', '.join(sorted(known))}"
            )
        for name, value in fields.items():
            free = name == "temperature" and value is None
            kind = (int, float) if name == "temperature" else int
            least = 0 if name == "temperature" else 1
            if not free and (not isinstance(value, kind) or isinstance(value, bool) or value < least):
                expected = "a number from 0, or null (not sent)" if name == "temperature" else "a whole number from 1"
                raise UserError(f"teacher.limits.{role}.{name}={value}: needs {expected}")
        limits[role] = dataclasses.replace(limits[role], **fields)
    return limits
