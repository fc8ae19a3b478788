"""The door: what a server sends is made safe here before anything else reads it.

Place in the flow: `endpoint` and `batch` redact and decode what arrives, `answer` reads the envelope, and the teacher's
`json_text` reads JSON inside a reply with the same care. Nothing here knows what an envelope means.

Example::

    secret = Secret("sk-abcdefgh")
    secret.redact("your key sk-abcdefgh is wrong")     # "your key *** is wrong"
    loads('{"created": 99}')                           # {"created": 99}; ValueError for whatever cannot be read
    whole("half of a pair: \\ud83d")                    # "half of a pair: \\ufffd"
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote

from sei.errors import printable

_SHORTEST_SECRET = 8  # a shorter "key" is a placeholder such as EMPTY or none: to mask it would spoil ordinary words
_LONGEST_INTEGER = 4000  # digits; int() refuses longer ones (and takes quadratic time for them)
_SURROGATE = re.compile("[\ud800-\udfff]")


def whole(text: str) -> str:
    """`text` with every lone surrogate replaced: half of a pair can be written to no file and to no database."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def shown(text: str, most: int = 500) -> str:
    """`text` fit for a message: no longer than `most` characters, a terminal's control characters as escapes."""
    cut = text if len(text) <= most else f"{text[:most]}..."
    return printable(whole(cut))


def loads(text: str) -> Any:
    """JSON from outside. Raises ValueError whatever is wrong with it, its depth included.

    An integer too long to be a number stays the string of its digits.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"), parse_int=integer)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def count(value: Any, most: int) -> int | None:
    """`value` as a number of things from 0 to `most`; None where it is none (text, a list, NaN, less, more)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= most else None  # which NaN is not


class Secret:
    """A key, and the forms in which a server may repeat it: as it is, escaped, in a URL, in base64."""

    def __init__(self, key: str) -> None:
        known = len(key) >= _SHORTEST_SECRET
        self._forms = sorted(_forms(key), key=len, reverse=True) if known else []
        # as it is, or with escapes before its marks, however often it was escaped
        spelled = "".join(letter if letter.isalnum() else rf"\\*{re.escape(letter)}" for letter in key)
        self._plain = re.compile(spelled if known else r"(?!)")

    def redact(self, text: str) -> str:
        """`text` without the key."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, "***")
        return self._plain.sub("***", text)


def _forms(key: str) -> set[str]:
    forms = {quote(key), quote(key, safe=""), key.encode().hex()}
    for before in range(3):  # base64 looks different by where in a group of three bytes the key begins, as in user:key
        encoded = base64.b64encode(b"\0" * before + key.encode())
        inner = encoded[(0, 2, 3)[before] : (before + len(key.encode())) * 8 // 6].decode()
        forms |= {inner, inner.translate(str.maketrans("+/", "-_"))}
    return forms
