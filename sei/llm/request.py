"""A question to a served model, and the name under which its answer is filed.

Place in the flow: the teacher's roles and the API engine build requests; `client` looks them up, sends them, and files the
answers. Two requests with the same key are the same question, so it is asked and paid for once.

Example::

    Request(messages=(user("2 + 3?"),), prompt="teacher/solve", prompt_hash="abc", max_tokens=64).key("gpt-4o")
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from sei.llm.door import whole

Message = tuple[Literal["system", "user", "assistant"], str]


def user(content: str) -> Message:
    return ("user", content)


@dataclass(frozen=True)
class Request:
    """One question. What it is filed under: model, messages, parameters, schema and sample."""

    messages: tuple[Message, ...]
    prompt: str  # name of the prompt file, for the store
    prompt_hash: str
    max_tokens: int
    temperature: float | None = 0.0  # None: not sent (reasoning models refuse it)
    schema: str = ""  # JSON schema as text, "" for free text
    schema_name: str = ""
    sample: int = 0  # tells samples of the same question apart
    stage: str = ""
    error_type: str = ""

    def __post_init__(self) -> None:
        if not all(content.isascii() for _, content in self.messages):  # half of a surrogate pair can be filed nowhere
            clean = tuple((role, whole(content)) for role, content in self.messages)
            object.__setattr__(self, "messages", clean)

    def canonical(self, model: str) -> str:
        """What is asked, as JSON with a fixed order. How the schema travels is the endpoint's dialect, not part of it."""
        asked = {
            "model": model,
            "messages": self.messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "schema": self.schema,
            "sample": self.sample,
        }
        return json.dumps(asked, ensure_ascii=False, sort_keys=True)

    def key(self, model: str) -> str:
        """64 hex digits that name this question in the store."""
        return hashlib.sha256(self.canonical(model).encode()).hexdigest()

    @property
    def text(self) -> str:
        """Everything the model reads, for counting tokens (a schema is read too)."""
        return "\n".join([*(content for _, content in self.messages), self.schema])
