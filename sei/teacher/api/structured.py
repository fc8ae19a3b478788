"""From a teacher's raw text to a checked object: find the JSON, mend its LaTeX, validate it.

Place in the flow: `teacher` hands every answer to `parse`; what does not parse is asked once more with the complaint,
then rejected with its text. Text is only ever parsed as JSON, never evaluated.

LaTeX in JSON: models write `"\\frac{1}{2}"` where JSON needs `"\\\\frac"`. A strict parser refuses `\\sqrt` and, worse,
reads `\\frac` as a form feed and `rac`. Backslashes that begin a LaTeX command are therefore doubled before parsing.

Example::

    parse('```json\\n{"step": 2, ...}\\n```', DiagnosisReply)
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

Fault = Literal["malformed", "wrong_schema"]
Reply = TypeVar("Reply", bound=BaseModel)

# LaTeX commands that begin like JSON's escapes \n, \r, \t. A form feed or backspace (\f, \b) is never meant, and
# other letters are no JSON escape, so those need no list. Left out: \nu and \ni, which are more often a new line that
# begins with the variable u or i.
_AMBIGUOUS = frozenset(
    "nabla natural ne nearrow neg neq newline nexists nmid not notin "
    "rangle rbrace rceil rfloor rho right rightarrow rm root tan tanh tau tbinom text textbf textit textrm tfrac "
    "therefore theta times to top triangle triangleq".split()
)
_BACKSLASHES = re.compile(r"(\\+)([A-Za-z]*)")
_HEX4 = re.compile(r"u[0-9a-fA-F]{4}")


class ParseError(Exception):
    """Why a text is no valid reply. `fault` is the ledger's code, the message is fit to show to the teacher."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


def mend_latex(text: str) -> str:
    """`text` with single backslashes doubled where they begin a LaTeX command and not a JSON escape."""

    def mend(match: re.Match[str]) -> str:
        slashes, word = match[1], match[2]
        following = text[match.end(1) : match.end(1) + 5]
        if len(slashes) % 2 == 0:  # already escaped
            return match[0]
        if following[:1] in ('"', "/") or _HEX4.match(following):
            return match[0]
        if word[:1] in ("n", "r", "t") and word not in _AMBIGUOUS:
            return match[0]
        if word in ("b", "f"):  # not followed by a letter: no command either
            return match[0]
        return slashes + "\\" + word

    return _BACKSLASHES.sub(mend, text)


def find_object(text: str) -> Any:
    """The first JSON object in `text`, whatever stands around it (a fence, prose). Raises ParseError."""
    text = mend_latex(text)
    decoder = json.JSONDecoder(strict=False)  # raw newlines inside strings are common and harmless
    first_error: json.JSONDecodeError | None = None
    start = text.find("{")
    while start >= 0:
        try:
            return decoder.raw_decode(text, start)[0]
        except json.JSONDecodeError as error:
            first_error = first_error or error
            start = text.find("{", start + 1)
            if first_error.pos >= len(text.rstrip()) - 1:
                break  # cut off: an object further in would be a part of the one that was meant
    if first_error is None:
        raise ParseError("malformed", "there is no JSON object in the reply")
    raise ParseError("malformed", f"the reply is not valid JSON: {first_error}")


def parse(text: str, model: type[Reply]) -> Reply:
    """The reply in `text` as a `model`. Raises ParseError."""
    found = find_object(text)
    try:
        return model.model_validate(found)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or 'object'}: {item['msg']}" for item in error.errors()]
        raise ParseError("wrong_schema", "; ".join(problems[:8])) from error


@cache
def schema_text(model: type[BaseModel]) -> str:
    """The JSON schema of `model` as text, in the subset that strict structured output accepts everywhere."""
    schema = model.model_json_schema()
    return json.dumps(_plain(schema), ensure_ascii=False)


def _plain(node: Any, *, names: bool = False) -> Any:
    """`node` without titles, defaults and our docstrings, every property required. `names`: keys are property names."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: _plain(value) for key, value in node.items()}
    kept = {
        key: _plain(value, names=key in ("properties", "$defs"))
        for key, value in node.items()
        if key not in ("title", "default", "description")
    }
    if "properties" in kept:
        kept["required"] = list(kept["properties"])
        kept["additionalProperties"] = False
    return kept
