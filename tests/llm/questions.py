"""What the tests of the client ask."""

from __future__ import annotations

from typing import Any

from sei.llm.request import Request, user

SCHEMA = '{"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}'


def request(number: int, **more: Any) -> Request:
    """The `number`-th question of many that all differ."""
    text = f"<question>\nWhat is {number}?\n</question>"
    return Request((user(text),), "teacher/solve", "abc", 64, stage="solve", **more)
