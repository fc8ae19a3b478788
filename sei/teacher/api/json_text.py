"""JSON as models write it: found in the text around it, and read as far as it goes.

Place in the flow: `structured` reads every reply with it. One pass from left to right: what breaks off or breaks down gives the
items that were whole by then, and the search goes on behind the place, so that no text takes more than linear time. Tolerated:
text and fences around, a comma too many, commas between objects left out, line breaks in strings, LaTeX's single backslashes.

Example::

    [found.value for found in values('Sure: [{"a": 1}, {"a": 2}, {"a"')]        # [[{"a": 1}, {"a": 2}]], not whole
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from sei.llm.door import integer, whole
from sei.teacher.api.escapes import Hand, hand_of, mend

_DEEPEST = 30  # containers in containers; replies have three
_START = re.compile(r'\{\s*+(?=["}])|\[\s*+(?=[{\]])')
_TOKEN = re.compile(
    r"\s*+(?:(?P<mark>[{}\[\]:,])"
    r'|(?P<string>"(?:[^"\\]++|\\.)*+")'
    r"|(?P<number>-?\d++(?P<fraction>\.\d++)?(?P<exponent>[eE][+-]?\d++)?)"
    r"|(?P<word>true|false|null|NaN|-?Infinity)\b)",
    re.DOTALL,
)
_SPACE = re.compile(r"\s*+")
_WORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
}  # the others are numbers to no one who asks for one


@dataclass(frozen=True)
class Found:
    """An object or a list. Where it is not `whole`, objects in lists that were not complete are left out."""

    value: Any
    whole: bool


def values(text: str) -> Iterator[Found]:
    """The JSON objects, and lists of objects, in `text`, in order."""
    first = _START.search(text)
    if first is None:
        return
    hand = hand_of(text[first.start() :])
    position = first.start()
    while start := _START.search(text, position):
        reader = _Reader(text, start.start(), hand)
        yield Found(reader.root, reader.read())
        if reader.at_end:  # what lies further in is part of what was cut off
            return
        position = reader.position


class _Reader:
    """One value, read from its opening brace or bracket on."""

    def __init__(self, text: str, start: int, hand: Hand) -> None:
        self._text, self._hand = text, hand
        self.root: Any = {} if text[start] == "{" else []
        self.position = start + 1
        self.at_end = False  # the text ended before the value did
        self._open: list[Any] = [self.root]
        self._keys: list[str | None] = [None]  # for each open object the key that waits for its value
        self._wants = "item"  # item (or key), colon, value, comma

    def read(self) -> bool:
        """Read until the value ends, breaks off or breaks down; whether it ended."""
        while self._open:
            token = _TOKEN.match(self._text, self.position)
            if token is None:
                rest = _SPACE.match(self._text, self.position)
                end = rest.end() if rest else self.position
                self.at_end = self._text[end : end + 1] in ("", '"')  # a string without an end takes all that follows
            if token is None or not self._take(token):
                self._salvage()
                return False
            self.position = token.end()
        return True

    def _take(self, token: re.Match[str]) -> bool:
        mark = token["mark"]
        if mark is None:
            return self._scalar(token)
        inside = self._open[-1]
        if mark == ",":
            fits = self._wants == "comma"
            self._wants = "item"
            return fits
        if mark == ":":
            fits = self._wants == "colon"
            self._wants = "value"
            return fits
        if mark in "}]":
            if self._wants not in ("item", "comma") or isinstance(inside, dict) != (mark == "}"):
                return False
            self._close()
            return True
        in_list = isinstance(inside, list)
        if len(self._open) >= _DEEPEST or not (
            self._wants == "value" or (in_list and self._wants in ("item", "comma"))
        ):
            return False
        self._open.append({} if mark == "{" else [])
        self._keys.append(None)
        self._wants = "item"
        return True

    def _scalar(self, token: re.Match[str]) -> bool:
        in_object = isinstance(self._open[-1], dict)
        if in_object and self._wants == "item":
            if token["string"] is None:
                return False
            self._keys[-1], self._wants = self._decoded(token["string"]), "colon"
            return True
        if self._wants != ("value" if in_object else "item"):
            return False
        self._put(self._value(token))
        return True

    def _value(self, token: re.Match[str]) -> Any:
        if token["string"] is not None:
            return self._decoded(token["string"])
        if token["word"] is not None:
            return _WORDS.get(token["word"], float("nan"))
        if token["fraction"] is None and token["exponent"] is None:
            return integer(token["number"])
        return float(token["number"])

    def _decoded(self, string: str) -> str:
        if "\\" not in string:
            return whole(string[1:-1])
        text: str = scanstring(mend(string[1:-1], self._hand) + '"', 0, False)[0]
        return whole(text)

    def _put(self, value: Any) -> None:
        inside = self._open[-1]
        if isinstance(inside, list):
            inside.append(value)
        else:
            inside[self._keys[-1]] = value
        self._wants = "comma"

    def _close(self) -> None:
        value = self._open.pop()
        self._keys.pop()
        if self._open:
            self._put(value)

    def _salvage(self) -> None:
        """Keep what is whole: open lists, and the objects that hold them, but no open object of a list."""
        while len(self._open) > 1:
            value = self._open.pop()
            self._keys.pop()
            if isinstance(self._open[-1], dict) or isinstance(value, list):
                self._put(value)
