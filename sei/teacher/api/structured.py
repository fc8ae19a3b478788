"""From a teacher's raw text to a checked object: leave out the reasoning, find the JSON, validate it.

Place in the flow: `teacher` hands every answer to `parse` or `parse_list`; what does not parse is asked once more with the
complaint, then rejected with its text. Text is only ever parsed as JSON (`json_text`), never evaluated.

Example::

    parse('<think>step 1?</think>```json\\n{"step": 2, ...}\\n```', DiagnosisReply)
    parse_list('[{"name": "a", ...}, {"name": "b", ...}, {"na', "groups", GroupItem)     # the two that are whole
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from sei.reading import REASONING_BEGINS, REASONING_ENDS
from sei.teacher.api.json_text import values

Fault = Literal["malformed", "wrong_schema"]
Reply = TypeVar("Reply", bound=BaseModel)

_LONGEST = 400_000  # characters; 8,192 tokens are about 30,000
_MOST_PARTS = 8
_MOST_OBJECTS = 1000  # tried as the reply; to validate one takes longer than to read it
# What ends a block of reasoning, with or without its beginning; harmony's final channel is the answer's own.
_REASONED = re.compile(
    rf"{REASONING_ENDS}|<\|channel\|>final(?:<\|\w{{1,20}}\|>[^<]{{0,20}}){{0,2}}<\|message\|>", re.IGNORECASE
)
_REASONING = re.compile(rf"\s*(?:{REASONING_BEGINS})", re.IGNORECASE)


class ParseError(Exception):
    """Why a text is no valid reply. `fault` is the ledger's code, the message is fit to show to the teacher."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


def after_reasoning(text: str) -> str:
    """`text` without a block of reasoning before the answer; "" where it never comes to an answer."""
    return next(_parts(text))


def _parts(text: str) -> Iterator[str]:
    """What follows the reasoning's last end mark, then what follows those before: a reply may speak of such marks itself."""
    ends = [mark.end() for mark in _REASONED.finditer(text)]
    if not ends:
        yield "" if _REASONING.match(text) else text
    for end in ends[-_MOST_PARTS:][::-1]:
        yield text[end:]
    if ends and text.lstrip("` \njson").startswith(("{", "[")):  # no reasoning, but an answer that speaks of such marks
        yield text


def parse(text: str, model: type[Reply]) -> Reply:
    """The reply in `text` as a `model`: the first JSON object that is one. Raises ParseError."""
    wrong: ParseError | None = None
    broken = False
    for part in _parts(_short(text)):
        for found in itertools.islice(values(part), _MOST_OBJECTS):
            broken |= not found.whole
            for candidate in _candidates(found.value) if found.whole else ():
                try:
                    return model.model_validate(candidate)
                except ValidationError as error:
                    wrong = wrong or ParseError("wrong_schema", _listed(error))
    raise wrong or _nothing(broken)


def parse_list(text: str, name: str, item: type[BaseModel]) -> list[Any]:
    """The items of the list `name` in `text`, not yet validated. Raises ParseError where there is no such list.

    The list may stand alone, item after item, or under another name; of one that breaks off, the whole items are given.
    """
    broken = seen = False
    for part in _parts(_short(text)):
        items: list[Any] = []
        lists = 0
        for found in values(part):
            seen, broken = True, broken or not found.whole
            more = _items(found.value, name, item.model_fields.keys())
            lists += more is not None
            items += more or []
        if items or (lists and not broken):
            return items
    raise ParseError("wrong_schema", f"{name}: Field required") if seen and not broken else _nothing(broken)


def _short(text: str) -> str:
    if len(text) > _LONGEST:
        raise ParseError("malformed", f"the reply has {len(text):,} characters, more than any such reply needs")
    return text


def _candidates(value: Any) -> Iterator[dict[str, Any]]:
    """The objects that `value` may mean: itself, the one in a list of one, the one inside, as a tool call's arguments are."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        yield value
        inner = [one for one in map(_arguments, value.values()) if isinstance(one, dict)]
        if len(inner) == 1:
            yield inner[0]


def _items(value: Any, name: str, fields: Any, depth: int = 0) -> list[Any] | None:
    """The items that `value` holds: as a list, as the list `name` (or another list of such items), or as one item itself."""
    if isinstance(value, list):
        return value if all(isinstance(item, dict) for item in value) else None
    if not isinstance(value, dict):
        return None
    if isinstance(named := _arguments(value.get(name)), list):
        return list(named)
    if fields <= value.keys():
        return [value]
    for inner in map(_arguments, value.values()) if depth == 0 else ():
        found = _items(inner, name, fields, 1) if isinstance(inner, list | dict) else None
        if found and any(isinstance(item, dict) and fields & item.keys() for item in found):
            return found
    return [value] if fields & value.keys() else None


def _arguments(value: Any) -> Any:
    """`value`, or what it holds where it is the text of one JSON object or list, as OpenAI writes a tool call's arguments."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        found = list(itertools.islice(values(value), 2))
        if len(found) == 1 and found[0].whole:
            return found[0].value
    return value


def _nothing(broken: bool) -> ParseError:
    return ParseError("malformed", "the reply is not valid JSON" if broken else "there is no JSON object in the reply")


def _listed(error: ValidationError) -> str:
    problems = [f"{'.'.join(map(str, item['loc'])) or 'object'}: {item['msg']}" for item in error.errors()]
    return "; ".join(problems[:8])


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
