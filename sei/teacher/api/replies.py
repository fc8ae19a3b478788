"""The replies of an API teacher: the schema that each must follow, and what replies become where records have no noun for it.

Place in the flow: `roles` sends a reply's schema with the question and reads the answer by it.

Example::

    parse(text, DiagnosisReply).step
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Replies, as the schema demands them

_ONE_NUMBER = re.compile(r"\D{0,20}(\d{1,6})\D{0,20}")  # "Step 2"


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: Any) -> Any:
        """Text given as a list of its lines, a list given as its one item, or as lines, a number given with its label."""
        if not isinstance(values, dict):
            return values
        meant = dict(values)
        for name, field in cls.model_fields.items():
            value = meant.get(name)
            if field.annotation is str and isinstance(value, list) and value and all(isinstance(v, str) for v in value):
                meant[name] = "\n".join(value)
            elif field.annotation == list[str] and isinstance(value, str):
                meant[name] = value.splitlines()
            elif field.annotation is int and isinstance(value, str) and (match := _ONE_NUMBER.fullmatch(value.strip())):
                meant[name] = int(match[1])
        return meant


class DiagnosisReply(_Reply):
    step: int
    reason: str
    kind: str
    keyphrases: list[str]


class LocationReply(_Reply):
    reason: str
    step: int


class CorrectionReply(_Reply):
    step: int
    explanation: str
    steps: list[str]
    answer: str


class QuestionReply(_Reply):
    question: str


class ProblemItem(_Reply):
    question: str
    solution: str
    answer: str


class ProblemsReply(_Reply):
    """What the schema demands of a synthesize reply; its items are read one by one."""

    problems: list[ProblemItem]


class TypeNameReply(_Reply):
    name: str
    description: str


class GroupItem(TypeNameReply):
    phrases: list[str]


class GroupsReply(_Reply):
    groups: list[GroupItem]


class MergeItem(TypeNameReply):
    names: list[str]


class MergesReply(_Reply):
    merges: list[MergeItem]


class TraceReply(_Reply):
    step: int
    cause: str
    correction: str
    answer: str


class InspectionReply(_Reply):
    correct: bool
    faults: list[str] = Field(default_factory=list)


# What replies become, where `sei.records` has no noun for it


@dataclass(frozen=True)
class TypeName:
    """A name and description for an error type."""

    name: str
    description: str


@dataclass(frozen=True)
class PhraseGroup(TypeName):
    """An error type as a clustering reply has it. Its phrases are the reply's, not yet checked against the list."""

    phrases: tuple[str, ...]


@dataclass(frozen=True)
class GroupMerge(TypeName):
    """Error types, by name, that are one; name and description are for the joined type."""

    names: tuple[str, ...]
